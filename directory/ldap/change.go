package ldap

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// ChangePassword replaces a password. It binds as the user first. So the directory
// counts a wrong old password, and refuses a locked account, which a change by the
// service account could unlock. See directory.Directory.
func (c *Client) ChangePassword(ctx context.Context, u *directory.User, old, new string) error {
	c, err := c.home(ctx, u)
	if err != nil {
		return err
	}
	change, ok := map[string]func(context.Context, *conn, *directory.User, string, string) error{
		changeRFC3062:    c.changeRFC3062,
		changeUnicodePwd: c.changeUnicodePwd,
	}[c.settings.PasswordChange]
	switch {
	case !ok:
		return &directory.Refusal{Why: directory.ErrChangeForbidden, Detail: "password_change: none"}
	case new == "":
		return &directory.Refusal{Why: directory.ErrPasswordTooShort, Detail: "empty"}
	case len(new) > maxPassword:
		return &directory.Refusal{Why: directory.ErrPasswordWeak, Detail: fmt.Sprintf("longer than %d bytes", maxPassword)}
	}
	cn, err := c.bindUser(ctx, u, old)
	if cn != nil {
		defer cn.close()
	}
	if err == nil {
		return change(ctx, cn, u, old, new)
	}
	r, refused := errors.AsType[*directory.Refusal](err)
	expired := refused && r.Proved && (errors.Is(r, directory.ErrMustChange) || errors.Is(r, directory.ErrPasswordExpired))
	switch {
	case !expired || !r.Bound && !c.kind.changeExpired:
		return err
	case r.Bound:
		return change(ctx, cn, u, old, new)
	case c.settings.account() == "":
		return &directory.Refusal{Why: directory.ErrChangeForbidden, Proved: true, Detail: "no service account to change it with"}
	}
	// The user could not bind, so the service account makes the change.
	service, err := c.pool.connect(ctx, c.asService())
	if err != nil {
		return fmt.Errorf("change the password of %q: %w", u.Name, err)
	}
	defer service.close()
	if c.settings.Kind == "generic" {
		root, _, err := read(ctx, c.searchOn(service), "", "objectClass", "vendorName")
		if err != nil {
			return fmt.Errorf("change the password of %q: %w", u.Name, err)
		}
		if !contains(root.all("objectClass"), "OpenLDAProotDSE") && !contains(root.all("vendorName"), "389 Project") {
			return &directory.Refusal{Why: directory.ErrChangeForbidden, Detail: "password expired, but this server may say so without checking the password: set kind"}
		}
	}
	err = change(ctx, service, u, old, new)
	if r, refused := errors.AsType[*directory.Refusal](err); refused && errors.Is(r, directory.ErrChangeForbidden) {
		r.Detail += "; password expired, so " + c.settings.account() + " must change it: " + expiredChange[c.settings.Kind]
	}
	return err
}

// expiredChange says, for each kind of server that refuses binds with an expired
// password, what an administrator must do so that people can change theirs.
var expiredChange = map[string]string{
	"openldap": `it needs the access "=xw" to userPassword; or set pwdGraceAuthNLimit in the password policy, so that people change it themselves`,
	"389ds":    `it needs the right "write" on userPassword; or set passwordGraceLimit in the password policy, so that people change it themselves`,
}

const passwordModifyName = "1.3.6.1.4.1.4203.1.11.1" // RFC 3062

// changeRFC3062 changes a password by the extended operation. go-ldap's own
// function for it can neither send nor return the policy control.
func (c *Client) changeRFC3062(ctx context.Context, cn *conn, u *directory.User, old, new string) error {
	value := ber.Encode(ber.ClassContext, ber.TypePrimitive, 1, nil, "")
	fields := ber.NewSequence("")
	for tag, field := range []string{c.bindName(u), old, new} {
		fields.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, ber.Tag(tag), field, ""))
	}
	value.AppendChild(fields)
	err := c.runOnce(ctx, cn, func() error {
		_, err := cn.Extended(&ldap.ExtendedRequest{
			Name:     passwordModifyName,
			Value:    value,
			Controls: []ldap.Control{ldap.NewControlBeheraPasswordPolicy()},
		})
		return err
	})
	if err != nil {
		return changeError(cn, fmt.Sprintf("change the password of %q", u.Name), err, passwordRefusal)
	}
	c.touchShadow(ctx, cn, u)
	return nil
}

// changeUnicodePwd changes a password as Active Directory requires it: delete the
// old and add the new value in one request ([MS-ADTS] 3.1.1.3.1.5). This is never
// a reset: Active Directory checks the old password and applies its rules.
func (c *Client) changeUnicodePwd(ctx context.Context, cn *conn, u *directory.User, old, new string) error {
	if !cn.private() {
		return fmt.Errorf("change the password of %q: %s: needs ldaps:// or start_tls", u.Name, cn.server.url)
	}
	if !utf8.ValidString(new) {
		return &directory.Refusal{Why: directory.ErrPasswordWeak, Proved: true, Detail: "not UTF-8"}
	}
	req := ldap.NewModifyRequest(u.DN, nil)
	req.Delete("unicodePwd", []string{unicodePwd(old)})
	req.Add("unicodePwd", []string{unicodePwd(new)})
	err := c.runOnce(ctx, cn, func() error { return cn.Modify(req) })
	return changeError(cn, fmt.Sprintf("change the password of %q", u.Name), err, passwordRefusal)
}

// unicodePwd is a password in quotes, in UTF-16LE.
func unicodePwd(password string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(`"` + password + `"`)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return string(b)
}

// changeError returns the error of a change: a refusal if meaning knows the reason
// of the answer.
func changeError(cn *conn, what string, err error, meaning func(answer) *directory.Refusal) error {
	if err == nil {
		return nil
	}
	if answered(err) {
		a := answerOf(nil, err)
		if r := meaning(a); r.Why != nil {
			r.Detail = a.detail()
			return r
		}
	}
	return fmt.Errorf("%s: %s: %w", what, cn.server.url, err)
}

// passwordRefusal is what an answer to a change of a password means.
func passwordRefusal(a answer) *directory.Refusal {
	why := a.changeVerdict()
	return &directory.Refusal{Why: why, Proved: !errors.Is(why, directory.ErrBadPassword)}
}

// touchShadow writes the day of the change into an entry that has it in a
// shadow(5) attribute. The directory may not do so, and the new password would be
// expired.
func (c *Client) touchShadow(ctx context.Context, cn *conn, u *directory.User) {
	e, _, err := read(ctx, c.searchOn(cn), u.DN, "shadowLastChange")
	today := strconv.FormatInt(c.now().Unix()/86400, 10)
	if err != nil || !e.has("shadowLastChange") || e.first("shadowLastChange") == today {
		return
	}
	req := ldap.NewModifyRequest(u.DN, nil)
	req.Replace("shadowLastChange", []string{today})
	if err := cn.do(ctx, c.settings.RequestTimeout, func() error { return cn.Modify(req) }); err != nil {
		c.log.Warn("password changed, but shadowLastChange not written", "user", u.Name, "error", err)
	}
}
