package ldap

import (
	"maps"
	"slices"
)

// A kind is what is known about one make of server.
type kind struct {
	defaults Settings
	state    []stateReader

	// changeExpired says that the service account can change a password that has
	// expired, with the old one. FreeIPA would mark the new one as expired, because
	// somebody else set it.
	changeExpired bool

	ppolicy bool // policies are pwdPolicy entries

	// bindsByPolicy says that the server applies the policies that state reads
	// from attributes, when somebody binds.
	bindsByPolicy bool

	// unwilling says that "unwilling to perform" in answer to a bind is about the account.
	// Other servers mean, for example, that they allow no simple binds.
	unwilling bool
}

// kinds holds the defaults of each kind. See also common.
var kinds = map[string]kind{
	"active_directory": {
		defaults: Settings{
			UserFilter:         "(&(objectCategory=person)(objectClass=user))",
			LoginAttributes:    []string{"sAMAccountName", "userPrincipalName"},
			NameAttribute:      "sAMAccountName",
			IDAttribute:        "objectGUID",
			KeyAttribute:       "altSecurityIdentities",
			KeyPrefix:          "SSHKey:",
			KeyClass:           none,
			GroupWalk:          walkTokenGroups,
			GroupNameAttribute: "sAMAccountName",
			MemberAttributes:   []string{"member"},
			MemberUIDAttribute: none,
			StateRequired:      []string{"userAccountControl", "accountExpires", "pwdLastSet", "msDS-User-Account-Control-Computed"}, // every user has them
			PasswordChange:     changeUnicodePwd,
		},
		state:         []stateReader{adState},
		changeExpired: true,
	},
	"openldap": {
		state:         []stateReader{ppolicyState, shadowState},
		ppolicy:       true,
		changeExpired: true,
		bindsByPolicy: true,
	},
	"freeipa": {
		defaults: Settings{
			UserFilter:         "(objectClass=posixAccount)",
			IDAttribute:        "ipaUniqueID",
			KeyAttribute:       "ipaSshPubKey",
			KeyClass:           "ipaSshUser",
			GroupWalk:          walkMemberOf,
			MemberAttributes:   []string{"member"},
			MemberUIDAttribute: none,
		},
		state:     []stateReader{nsLockState, ipaState},
		unwilling: true,
	},
	"389ds": {
		defaults: Settings{
			IDAttribute:  "nsUniqueId",
			KeyAttribute: "nsSshPublicKey",
			KeyClass:     "nsAccount",
		},
		state:         []stateReader{nsState, shadowState},
		changeExpired: true,
		bindsByPolicy: true,
		unwilling:     true,
	},
	"generic": {
		state:         []stateReader{ppolicyState, nsState, shadowState},
		ppolicy:       true,
		changeExpired: true,
		unwilling:     true,
	},
	"embedded": {
		defaults:      Settings{KeyClass: none}, // it has no schema
		state:         []stateReader{ppolicyState, nsState},
		ppolicy:       true,
		changeExpired: true,
		bindsByPolicy: true,
	},
}

// Kinds returns the names that Settings.Kind may have, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }
