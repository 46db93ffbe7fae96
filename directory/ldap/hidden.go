package ldap

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// How long it is remembered whether the service account may read account state.
const (
	readableFor = 10 * time.Minute
	hiddenFor   = 10 * time.Second // an administrator may be changing the rights
)

// hiddenState returns the attributes of account state that the service account may
// not read. They seem to be missing, so that a locked account would seem to be
// active. Only the entry dn is tried: access rules that differ from user to user
// are rare.
func (c *Client) hiddenState(ctx context.Context, dn string) ([]string, error) {
	if !c.mayHide() {
		return nil, nil
	}
	if hidden, known := c.hidden.recall("", c.now()); known {
		return hidden, nil
	}
	hidden, err := c.hiddenNow(ctx, dn)
	if err != nil {
		return nil, fmt.Errorf("asking which account state can be read: %w", err)
	}
	if account, err := c.accountDN(ctx); err != nil || foldDN(dn) == foldDN(account) {
		return hidden, err // it may read more of its own entry than of others
	}
	until := c.now().Add(readableFor)
	if len(hidden) > 0 {
		until = c.now().Add(hiddenFor)
	}
	c.hidden.remember("", hidden, until)
	return hidden, nil
}

// hiddenNow asks 389 DS for the rights of the service account. If it reports none,
// or the server cannot be asked for rights, hiddenNow sends a compare request:
// servers apply their access rules first, whether the attribute is set or not.
func (c *Client) hiddenNow(ctx context.Context, dn string) ([]string, error) {
	attributes := c.stateAttributes()
	list := ""
	if c.settings.Kind != "openldap" {
		account, err := c.accountDN(ctx)
		if err != nil {
			return nil, err
		}
		list, err = rightsOn(ctx, c.search, account, dn, attributes...)
		if err != nil && unwell(err) {
			return nil, err
		}
	}
	var hidden []string
	for _, a := range attributes {
		rights, _ := attributeRights(list, a)
		readable := strings.Contains(rights, "r")
		if rights == "" { // none, also where the entry has no class for it
			var err error
			if readable, err = c.comparable(ctx, dn, a); err != nil {
				return nil, err
			}
		}
		if !readable {
			hidden = append(hidden, a)
		}
	}
	return hidden, nil
}

// stateAttributes are those that every entry may have.
func (c *Client) stateAttributes() []string {
	var attributes []string
	for _, r := range c.kind.state {
		if !r.rare {
			attributes = append(attributes, r.attributes...)
		}
	}
	return attributes
}

// hiddenMembers returns the attributes with the members of a group that the
// service account may not compare. A search by them finds no group.
func (c *Client) hiddenMembers(ctx context.Context, dn string) (hidden []string, err error) {
	if !c.mayHide() || c.settings.GroupWalk != walkMembers {
		return nil, nil
	}
	for _, a := range c.settings.memberAttributes() {
		may, err := c.comparable(ctx, dn, a)
		if err != nil {
			return nil, err
		}
		if !may {
			hidden = append(hidden, a)
		}
	}
	return hidden, nil
}

// mayHide reports whether attributes may be hidden on a server that can be asked
// about it. For Active Directory see StateRequired and hiddenHours.
func (c *Client) mayHide() bool {
	return c.settings.account() != "" && slices.Contains([]string{"openldap", "389ds", "freeipa"}, c.settings.Kind)
}

// comparable reports whether the service account may compare an attribute.
func (c *Client) comparable(ctx context.Context, dn, attribute string) (bool, error) {
	for _, value := range []string{"20000101000000Z", "TRUE", dn} { // one is of its syntax
		err := c.overPool(ctx, func(cn *conn) error {
			return c.run(ctx, cn, func() error {
				_, err := cn.Compare(dn, attribute, value)
				return err
			})
		})
		switch {
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidAttributeSyntax):
			continue
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultInsufficientAccessRights):
			return false, nil
		case err != nil && unwell(err):
			return false, err
		}
		return true, nil
	}
	return true, nil // the server has checked the value, so it allows to compare
}

// descriptorAttribute holds the access rules of an entry of Active Directory.
const descriptorAttribute = "nTSecurityDescriptor"

// How access rules name logonHours: by its own GUID or by that of its property
// set, User-Logon ([MS-ADA1], [MS-ADTS] 3.1.1.2.3.3).
const (
	guidLogonHours = "\xab\x79\x96\xbf\xe6\x0d\xd0\x11\xa2\x85\x00\xaa\x00\x30\x49\xe2"
	guidUserLogon  = "\x10\x20\x20\x5f\xa5\x79\xd0\x11\x90\x20\x00\xc0\x4f\xc2\xd4\xcf"
)

// hiddenHours returns logonHours if it is missing from the entry and the account
// that searches may not read it. All other attributes of account state are in every
// entry. The server cannot be asked whether this one is hidden, so the access
// rules of the entry are read.
func (c *Client) hiddenHours(ctx context.Context, search searchFunc, e entry) ([]string, error) {
	if e.has("logonHours") {
		return nil, nil
	}
	sids, known := c.tokens.recall("", c.now())
	if !known {
		root, _, err := read(ctx, search, "", "tokenGroups")
		if err != nil {
			return nil, err
		}
		if sids = root.all("tokenGroups"); c.settings.BindAs == "" {
			c.tokens.remember("", sids, c.now().Add(policiesFor))
		}
	}
	if slices.Contains(sids, e.first("objectSid")) {
		sids = append(slices.Clip(sids), sidSelf)
	}
	if !mayRead(e.first(descriptorAttribute), sids, guidLogonHours, guidUserLogon) {
		return []string{"logonHours (" + descriptorAttribute + " forbids it, or cannot be read)"}, nil
	}
	return nil, nil
}

// sidSelf is S-1-5-10, which means the entry itself.
const sidSelf = "\x01\x01\x00\x00\x00\x00\x00\x05\x0a\x00\x00\x00"

// mayRead reports whether a security descriptor allows an account with these SIDs
// to read an attribute, which rules name by one of the GUIDs ([MS-DTYP] 2.4.6,
// [MS-ADTS] 5.1.3.3.3). The first rule for the account and the attribute decides. A
// descriptor that cannot be parsed allows nothing.
func mayRead(descriptor string, sids []string, guids ...string) (may bool) {
	defer func() {
		if recover() != nil { // the descriptor is too short
			may = false
		}
	}()
	const (
		inheritOnly = 0x8
		objectType  = 0x1
		inherited   = 0x2
		readAny     = 0x10 | 0x10000000 | 0x80000000 // of a property, everything, generic
	)
	b := []byte(descriptor)
	at := binary.LittleEndian.Uint32(b[16:])
	if at == 0 {
		return false
	}
	list := b[at:]
	rules := list[8:]
	for range binary.LittleEndian.Uint16(list[4:]) {
		kind, flags, size := rules[0], rules[1], binary.LittleEndian.Uint16(rules[2:])
		mask, rest := binary.LittleEndian.Uint32(rules[4:]), rules[8:size]
		rules = rules[size:]
		about := ""
		if kind == 5 || kind == 6 {
			has := rest[0]
			rest = rest[4:]
			if has&objectType != 0 {
				about, rest = string(rest[:16]), rest[16:]
			}
			if has&inherited != 0 {
				rest = rest[16:]
			}
		}
		known := kind == 0 || kind == 1 || kind == 5 || kind == 6
		if !known || flags&inheritOnly != 0 || mask&readAny == 0 || about != "" && !slices.Contains(guids, about) {
			continue
		}
		if slices.Contains(sids, string(rest[:8+4*int(rest[1])])) {
			return kind == 0 || kind == 5
		}
	}
	return false
}
