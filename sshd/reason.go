package sshd

import (
	"errors"

	"berth/directory"
	"berth/policy"
	"berth/sshd/cert"
	"berth/sshd/kerberos"
	"berth/sshd/state"
	"berth/sshd/totp"
)

// answers is what each refusal is called in events, and what somebody who has
// proved who they are is told. Everybody else is told nothing.
var answers = []struct {
	err    error
	reason string
	text   string
}{
	{directory.ErrNoUser, "unknown_user", ""},
	{directory.ErrAmbiguous, "ambiguous_name", ""},
	{directory.ErrShielded, "shielded", "Too many wrong passwords. Please try again later."},
	{directory.ErrBadPassword, "bad_password", "The current password is wrong."},
	{directory.ErrDisabled, "account_disabled", "Your account is disabled."},
	{directory.ErrLocked, "account_locked", "Your account is locked."},
	{directory.ErrExpired, "account_expired", "Your account has expired."},
	{directory.ErrOutsideHours, "outside_hours", "You may not log in at this hour."},
	{directory.ErrPasswordExpired, "password_expired", "Your password has expired."},
	{directory.ErrMustChange, "password_must_change", "Your password must be changed before you can go on."},
	{directory.ErrStateUnknown, "state_unknown", "The state of your account could not be read."},
	{directory.ErrChangeForbidden, "change_forbidden", "You are not allowed to change your password."},
	{directory.ErrPasswordTooShort, "password_too_short", "The new password is too short."},
	{directory.ErrPasswordTooYoung, "password_too_young", "The password was changed too recently to be changed again."},
	{directory.ErrPasswordUsed, "password_used", "The new password has been used before."},
	{directory.ErrPasswordWeak, "password_weak", "The new password does not meet the rules of the directory."},
	{cert.ErrType, "certificate_type", ""},
	{cert.ErrAuthority, "certificate_authority", ""},
	{cert.ErrSignature, "certificate_signature", ""},
	{cert.ErrWeak, "certificate_weak", ""},
	{cert.ErrRevoked, "certificate_revoked", ""},
	{cert.ErrNotYetValid, "certificate_not_yet_valid", ""},
	{cert.ErrExpired, "certificate_expired", ""},
	{cert.ErrPrincipal, "certificate_principal", ""},
	{cert.ErrSource, "certificate_source", ""},
	{cert.ErrOption, "certificate_option", ""},
	{cert.ErrUnreadable, "certificates_unreadable", ""},
	{errKeyRefused, "key_not_accepted", ""},
	{kerberos.ErrExpired, "ticket_expired", ""},
	{kerberos.ErrClockSkew, "ticket_clock_skew", ""},
	{kerberos.ErrReplayed, "ticket_replayed", ""},
	{kerberos.ErrNotForUs, "ticket_for_another_service", ""},
	{kerberos.ErrWrongKey, "ticket_key", ""},
	{kerberos.ErrForeignRealm, "ticket_realm", ""},
	{errTicket, "ticket_not_accepted", ""},
	{totp.ErrOld, "code_too_old", ""},
	{totp.ErrNoSecret, "code_no_secret", ""},
	{totp.ErrUnreadable, "codes_unreadable", ""},
	{errCodeNotGiven, "code_not_given", ""},
	{errNoCodes, "codes_not_configured", ""},
	{errKeyRemoved, "key_removed", "The key you logged in with is no longer yours."},
	{errPasswordChanged, "password_changed", "Your password has been changed."},
	{errMethod, "method_not_accepted", ""}, // would tell a guesser that the password is right, without the other factor
	{errEmpty, "password_empty", "The new password is empty."},
	{errBlank, "password_blank", "The new password begins or ends with a space or a tab."},
	{errMismatch, "password_mismatch", "The new passwords do not match."},
	{errNotAKey, "not_a_key", "This is not one public key in the format of OpenSSH, RFC 4716 or PuTTY."},
	{errPrivateKey, "private_key", "This is a private key: keep it to yourself. The public one is needed, in the file that ends in .pub."},
	{errKeyOption, "key_option", "A key may have the options from= and expiry-time= only."},
	{directory.ErrKeyUnusable, "key_unusable", "This key cannot be used."},
	{directory.ErrKeyExists, "key_exists", "You have this key already."},
	{directory.ErrTooManyKeys, "too_many_keys", "You have as many keys as you may have: remove one first."},
	{directory.ErrNoKey, "unknown_key", "You have no key with this fingerprint."},
	{directory.ErrKeyForbidden, "key_change_forbidden", "Keys cannot be changed here: ask an administrator."},
	{policy.ErrDenied, "no_rule", "You have no access to this server."},
}

// unavailable is said when the directory could not be asked, to anybody.
const (
	unavailableReason = "directory_unavailable"
	unavailableText   = "The directory cannot be reached just now. Please try again later."
)

// reasonOf is the code of err in events.
func reasonOf(err error) string {
	var denied *policy.Denied
	if errors.As(err, &denied) {
		return string(denied.Reason)
	}
	var refusal *state.Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason()
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return a.reason
		}
	}
	return unavailableReason
}

// deniedByUs reports whether err refuses somebody who has proved who they are:
// the directory has nothing against them, but no rule lets them in, or not now.
func deniedByUs(err error) bool {
	if errors.Is(err, errCode) {
		return false
	}
	var refusal *state.Refusal
	return errors.Is(err, policy.ErrDenied) || errors.Is(err, errMethod) || errors.As(err, &refusal)
}

// tell is what the client is told when a login is refused: the reason only to
// somebody who proved the secret, and that the directory is down to everybody.
func tell(err error) string {
	proved := directory.Proved(err) || deniedByUs(err)
	if !proved && (directory.Refused(err) || errors.Is(err, errKeyRefused) || errors.Is(err, errTicket) || errors.Is(err, errCode)) {
		return ""
	}
	return sentence(err)
}

// sentence explains err to a person.
func sentence(err error) string {
	var refusal *state.Refusal
	if errors.As(err, &refusal) {
		return "Too many sessions are open."
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return a.text
		}
	}
	return unavailableText
}
