package ldap

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

type verdict struct {
	why    error
	proved bool // the password was right
}

// subCodes explains the number in the text of Active Directory's answer "invalid
// credentials", as in "… error, data 532, v4563". It sends 775 whatever the
// password was, and the other numbers but 525 and 52e only if it was right.
var subCodes = map[string]verdict{
	"525": {directory.ErrBadPassword, false}, // no such user
	"52e": {directory.ErrBadPassword, false},
	"530": {directory.ErrOutsideHours, true},
	"531": {directory.ErrWorkstation, true},
	"532": {directory.ErrPasswordExpired, true},
	"533": {directory.ErrDisabled, true},
	"701": {directory.ErrExpired, true},
	"773": {directory.ErrMustChange, true},
	"775": {directory.ErrLocked, false},
}

// subCode finds that number.
var subCode = regexp.MustCompile(`AcceptSecurityContext.*, data +([^, ]+)`)

// controlNone means that the password policy control has no error
// (draft-behera-ldap-password-policy-10, section 6.2).
const controlNone = -1

// An answer is the answer of a server to a bind or a change.
type answer struct {
	code    int
	text    string
	control int // error of the password policy control
	grace   bool
	expired bool // 389 DS's own control for an expired password
}

// answerOf takes the parts out of a result; err must be nil or answered.
func answerOf(controls []ldap.Control, err error) answer {
	a := answer{control: controlNone}
	if e, ok := errors.AsType[*ldap.Error](err); ok {
		a.code = int(e.ResultCode)
		a.text = e.Err.Error()
		// go-ldap drops the controls of an extended operation that failed.
		if controls == nil && e.Packet != nil && len(e.Packet.Children) > 2 {
			for _, child := range e.Packet.Children[2].Children {
				if c, err := ldap.DecodeControl(child); err == nil {
					controls = append(controls, c)
				}
			}
		}
	}
	for _, c := range controls {
		switch c := c.(type) {
		case *ldap.ControlBeheraPasswordPolicy:
			a.control = int(c.Error)
			a.grace = c.Grace >= 0
		case *ldap.ControlVChuPasswordMustChange:
			a.expired = true
		}
	}
	return a
}

// detail returns the answer as text for the log.
func (a answer) detail() string {
	text := strings.TrimSpace(strings.TrimRight(a.text, "\x00"))
	if a.control != controlNone {
		text = strings.TrimSpace(fmt.Sprintf("%s policy error %d", text, a.control))
	}
	return strings.TrimSpace(fmt.Sprintf("result %d %.300s", a.code, text))
}

// bindVerdict returns what an answer to a bind means. ok is false if the answer is
// not about the user, such as "busy".
func (a answer) bindVerdict() (v verdict, ok bool) {
	code := subCode.FindStringSubmatch(a.text)
	switch {
	case a.code == ldap.LDAPResultSuccess && (a.control == ldap.BeheraChangeAfterReset || (a.expired && !a.grace)):
		return verdict{directory.ErrMustChange, true}, true
	case a.code == ldap.LDAPResultSuccess:
		return verdict{}, true
	case a.control == ldap.BeheraPasswordExpired:
		return verdict{directory.ErrPasswordExpired, true}, true
	case a.control == ldap.BeheraAccountLocked && a.code == ldap.LDAPResultUnwillingToPerform:
		return verdict{directory.ErrDisabled, false}, true // 389 DS: nsAccountLock
	case a.control == ldap.BeheraAccountLocked:
		return verdict{directory.ErrLocked, false}, true
	case a.control == ldap.BeheraChangeAfterReset:
		return verdict{directory.ErrMustChange, false}, true
	case code != nil:
		v, ok := subCodes[strings.ToLower(code[1])]
		if !ok {
			v.why = directory.ErrBadPassword
		}
		return v, true
	}
	v, ok = bindCodes[a.code]
	return v, ok
}

// bindCodes are the result codes that are about the user. They decide if there
// is no policy error and no sub-code.
var bindCodes = map[int]verdict{
	ldap.LDAPResultInvalidCredentials:          {directory.ErrBadPassword, false},
	ldap.LDAPResultInappropriateAuthentication: {directory.ErrBadPassword, false}, // no password in the entry
	ldap.LDAPResultNoSuchObject:                {directory.ErrBadPassword, false}, // the entry was removed after the look-up
	ldap.LDAPResultInvalidDNSyntax:             {directory.ErrBadPassword, false},
	ldap.LDAPResultConstraintViolation:         {directory.ErrLocked, false},   // 389 DS: too many failures
	ldap.LDAPResultUnwillingToPerform:          {directory.ErrDisabled, false}, // 389 DS: inactivated; see verdictOn
}

// changeControls are the errors of the same control in an answer to a change,
// by their numbers.
var changeControls = []error{
	directory.ErrPasswordExpired,
	directory.ErrLocked,
	directory.ErrMustChange,
	directory.ErrChangeForbidden,
	directory.ErrChangeForbidden, // without the old password
	directory.ErrPasswordWeak,
	directory.ErrPasswordTooShort,
	directory.ErrPasswordTooYoung,
	directory.ErrPasswordUsed,
}

// changeCodes are the result codes of a refused change without a policy error. A
// bind has just accepted the old password, so "unwilling to verify" means that a
// right is missing.
var changeCodes = map[int]error{
	ldap.LDAPResultConstraintViolation:      directory.ErrPasswordWeak,
	ldap.LDAPResultInsufficientAccessRights: directory.ErrChangeForbidden,
	ldap.LDAPResultUnwillingToPerform:       directory.ErrChangeForbidden,
	ldap.LDAPResultInvalidCredentials:       directory.ErrBadPassword,
	ldap.LDAPResultUnavailable:              directory.ErrNotStored,
}

// win32Codes begin the text of Active Directory's answers to a change.
var win32Codes = map[string]error{
	"00000005": directory.ErrChangeForbidden,
	"00000056": directory.ErrBadPassword,
	"0000052D": directory.ErrPasswordWeak,
	"00000775": directory.ErrLocked,
}

// restrictions are the reasons that Samba adds to 0000052D. Active Directory gives
// none.
var restrictions = []struct {
	text string
	why  error
}{
	{"too short", directory.ErrPasswordTooShort},
	{"too young", directory.ErrPasswordTooYoung},
	{"too recent", directory.ErrPasswordTooYoung},
	{"history", directory.ErrPasswordUsed},
	{"already used", directory.ErrPasswordUsed},
	{"previous password", directory.ErrPasswordUsed},
}

// changeVerdict returns what an answer to a change means; nil if it is not about
// the password.
func (a answer) changeVerdict() error {
	if a.control >= 0 && a.control < len(changeControls) {
		return changeControls[a.control]
	}
	if len(a.text) < 8 {
		return changeCodes[a.code]
	}
	why, ok := win32Codes[strings.ToUpper(a.text[:8])]
	if !ok {
		return changeCodes[a.code]
	}
	for _, r := range restrictions {
		if errors.Is(why, directory.ErrPasswordWeak) && strings.Contains(strings.ToLower(a.text), r.text) {
			return r.why
		}
	}
	return why
}
