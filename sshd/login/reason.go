package login

import (
	"errors"
	"fmt"
	"strings"

	"berth/directory"
	"berth/policy"
	"berth/sshd/cert"
	"berth/sshd/event"
	"berth/sshd/kerberos"
	"berth/sshd/oidc"
	"berth/sshd/state"
	"berth/sshd/totp"
)

// Proofs of a client that are not accepted.
var (
	errKeyRefused = errors.New("key not accepted")         // not a key of the user, or not from this address
	errReported   = errors.New("not accepted")             // an event has the reason
	errTicket     = errors.New("ticket not accepted")      // it proves nothing, or that the client is somebody else
	errNotThem    = errors.New("sign-in of somebody else") // in the browser
	errMethod     = errors.New("method not accepted")      // no rule asks for it, or not now
	errCode       = errors.New("one-time code not accepted")

	errCodeNotGiven = fmt.Errorf("%w: the rule requires one beside the password: both are asked for by keyboard-interactive", errCode)
	errNoCodes      = fmt.Errorf("%w: the rule requires one, and no secrets are configured", errCode)
)

func wrongMethod(require [][]string, factors []string) error {
	return fmt.Errorf("%w: the rule requires %v, not %s", errMethod, require, strings.Join(factors, ", "))
}

// What is wrong with a new password before the directory is asked.
var (
	errEmpty    = errors.New("new password empty")
	errBlank    = errors.New("blank at an end of the new password")
	errMismatch = errors.New("new passwords differ")
)

// ErrNoAnswer ends a dialogue: the input has ended, or Ctrl-C was pressed.
var ErrNoAnswer = errors.New("no answer")

// Why a session ends whose login would not succeed again.
var (
	errKeyRemoved      = errors.New("the key is no longer in the directory")
	errPasswordChanged = errors.New("the password was changed since the login")
)

// answers has the reason of each refusal for events, and the sentence for somebody who
// has proved who they are. Nobody else learns the reason.
var answers = []struct {
	err    error
	reason event.Reason
	text   string
}{
	{directory.ErrNoUser, event.UnknownUser, ""},
	{directory.ErrAmbiguous, event.AmbiguousName, ""},
	{directory.ErrShielded, event.Shielded, "Too many wrong passwords. Please try again later."},
	{directory.ErrBadPassword, event.BadPassword, "The current password is wrong."},
	{directory.ErrDisabled, event.AccountDisabled, "Your account is disabled."},
	{directory.ErrLocked, event.AccountLocked, "Your account is locked."},
	{directory.ErrExpired, event.AccountExpired, "Your account has expired."},
	{directory.ErrOutsideHours, event.OutsideHours, "You may not log in at this hour."},
	{directory.ErrWorkstation, event.Workstation, "The directory allows your account other computers only."},
	{directory.ErrPasswordExpired, event.PasswordExpired, "Your password has expired."},
	{directory.ErrMustChange, event.PasswordMustChange, "Your password must be changed before you can go on."},
	{directory.ErrStateUnknown, event.StateUnknown, "The state of your account could not be read."},
	{directory.ErrChangeForbidden, event.ChangeForbidden, "You are not allowed to change your password."},
	{directory.ErrNotStored, event.NotStored, "The directory cannot store the change now. Please try again later."},
	{directory.ErrPasswordTooShort, event.PasswordTooShort, "The new password is too short."},
	{directory.ErrPasswordTooYoung, event.PasswordTooYoung, "The password was changed too recently to be changed again."},
	{directory.ErrPasswordUsed, event.PasswordUsed, "The new password has been used before."},
	{directory.ErrPasswordWeak, event.PasswordWeak, "The new password does not meet the rules of the directory."},
	{cert.ErrType, event.CertificateType, ""},
	{cert.ErrAuthority, event.CertificateAuthority, ""},
	{cert.ErrSignature, event.CertificateSignature, ""},
	{cert.ErrWeak, event.CertificateWeak, ""},
	{cert.ErrRevoked, event.CertificateRevoked, ""},
	{cert.ErrKeyRevoked, event.KeyRevoked, "This key has been revoked."},
	{cert.ErrNotYetValid, event.CertificateNotYetValid, ""},
	{cert.ErrExpired, event.CertificateExpired, ""},
	{cert.ErrPrincipal, event.CertificatePrincipal, ""},
	{cert.ErrSource, event.CertificateSource, ""},
	{cert.ErrOption, event.CertificateOption, ""},
	{cert.ErrUnreadable, event.CertificatesUnreadable, ""},
	{errKeyRefused, event.KeyNotAccepted, ""},
	{kerberos.ErrExpired, event.TicketExpired, ""},
	{kerberos.ErrClockSkew, event.TicketClockSkew, ""},
	{kerberos.ErrReplayed, event.TicketReplayed, ""},
	{kerberos.ErrNotForUs, event.TicketForAnother, ""},
	{kerberos.ErrWrongKey, event.TicketKey, ""},
	{kerberos.ErrForeignRealm, event.TicketRealm, ""},
	{errTicket, event.TicketNotAccepted, ""},
	{oidc.ErrUnavailable, event.ProviderUnavailable, "The sign-in service cannot be reached just now. Please try again later."},
	{oidc.ErrBusy, event.TooManySignIns, "Too many sign-ins are under way. Please try again later."},
	{oidc.ErrNotSignedIn, event.NotSignedIn, "Nobody has signed in with the browser."},
	{oidc.ErrToken, event.TokenNotAccepted, "Your sign-in is not accepted here. Please tell your administrator."},
	{errNotThem, event.SignInOfAnother, ""},
	{totp.ErrOld, event.CodeTooOld, ""},
	{totp.ErrNoSecret, event.CodeNoSecret, ""},
	{totp.ErrUnreadable, event.CodesUnreadable, ""},
	{state.ErrLost, event.SharedStateLost, ""},
	{errCodeNotGiven, event.CodeNotGiven, ""},
	{errNoCodes, event.CodesNotConfigured, ""},
	{errKeyRemoved, event.LoginKeyRemoved, "The key you logged in with is no longer yours."},
	{errPasswordChanged, event.LoginPasswordChanged, "Your password has been changed."},
	{errMethod, event.MethodNotAccepted, ""}, // a sentence would show an attacker that the rules ask for something else
	{errEmpty, event.PasswordEmpty, "The new password is empty."},
	{errBlank, event.PasswordBlank, "The new password begins or ends with a space or a tab."},
	{errMismatch, event.PasswordMismatch, "The new passwords do not match."},
	{ErrNoAnswer, event.NoAnswer, "The dialogue was ended."},
	{directory.ErrKeyUnusable, event.KeyUnusable, "This key cannot be used."},
	{directory.ErrKeyExists, event.KeyExists, "You have this key already."},
	{directory.ErrTooManyKeys, event.TooManyKeys, "You have as many keys as you may have: remove one first."},
	{directory.ErrNoKey, event.UnknownKey, "You have no key with this fingerprint."},
	{directory.ErrKeyForbidden, event.KeyChangeForbidden, "Keys cannot be changed here: ask an administrator."},
	{policy.ErrDenied, event.NoRule, "You have no access to this server."},
}

// denials and limits are the reasons of packages that do not know events.
var (
	denials = map[policy.Reason]event.Reason{
		policy.NoRule: event.NoRule, policy.DenyRule: event.DenyRule, policy.GroupsUnknown: event.GroupsUnknown, policy.Placeholder: event.Placeholder,
		policy.NoUID: event.NoUID,
	}
	limits = map[state.Reason]event.Reason{
		state.SourceBlocked: event.SourceBlocked, state.SourcePenalized: event.SourcePenalized, state.SourceBusy: event.SourceBusy,
		state.StartupsFull: event.StartupsFull, state.UserSessions: event.UserSessions, state.TotalSessions: event.TotalSessions,
		state.CodeWrong: event.CodeWrong, state.CodeUsed: event.CodeUsed, state.CodesShielded: event.CodesShielded,
	}
)

// ReasonOf is the code of err in events.
func ReasonOf(err error) event.Reason {
	if denied, ok := errors.AsType[*policy.Denied](err); ok {
		return denials[denied.Reason]
	}
	if refusal, ok := errors.AsType[*state.Refusal](err); ok {
		return limits[refusal.Code]
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return a.reason
		}
	}
	return event.DirectoryUnavailable
}

// deniedByUs reports whether err refuses somebody who has proved who they are. The
// directory accepts them, but no rule allows the login, or a limit is reached.
func deniedByUs(err error) bool {
	limit, limited := errors.AsType[*state.Refusal](err)
	return errors.Is(err, policy.ErrDenied) || (limited && (limit.Code == state.UserSessions || limit.Code == state.TotalSessions))
}

// clientMessage is the text for the client when a login is refused. It has the reason
// only if the user has proved everything that the rules ask for before it: a client
// must not learn that one of two factors was right. Everybody may know that the
// directory cannot be asked.
func clientMessage(err error) string {
	proved := directory.Proved(err) || deniedByUs(err)
	if !proved && (directory.Refused(err) || errors.Is(err, errKeyRefused) || errors.Is(err, errTicket) || errors.Is(err, errCode) || errors.Is(err, errNotThem) || errors.Is(err, errMethod)) {
		return ""
	}
	return Sentence(err)
}

// Sentence explains err to the person it is about.
func Sentence(err error) string {
	if limit, ok := errors.AsType[*state.Refusal](err); ok {
		if limit.Code == state.SourcePenalized {
			return "Too many failed logins from your address. Please try again later."
		}
		return "Too many sessions are open."
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return a.text
		}
	}
	return "The directory cannot be reached just now. Please try again later."
}
