package embedded

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/directory"
)

// An attributeType is what the server knows about an attribute. There is no
// full schema: what is not in the table is a user attribute whose values ignore
// case, as nearly all are.
type attributeType struct {
	compare     comparison
	operational bool // only returned when asked for by name or with "+" (RFC 3673)
	readers     readers
}

// comparison is how values are compared.
type comparison int

const (
	ignoreCase comparison = iota
	exact
	distinguished // a DN
	integer
	boolean
	timestamp // GeneralizedTime
)

// readers is who may read an attribute, or search by it.
type readers int

const (
	everyone    readers = iota // who is bound
	owner                      // the user itself and the service account
	serviceOnly                // the service account: who has only the password must not find the other factor here
	nobody
)

var attributeTypes = map[string]attributeType{
	"userpassword": {exact, false, nobody},
	"pwdhistory":   {exact, true, nobody},

	"sshpublickey": {exact, false, owner},
	"totpsecret":   {exact, false, serviceOnly},

	"pwdchangedtime":       {timestamp, true, owner},
	"pwdaccountlockedtime": {timestamp, true, owner},
	"pwdfailuretime":       {timestamp, true, owner},
	"pwdstarttime":         {timestamp, true, owner},
	"pwdendtime":           {timestamp, true, owner},
	"pwdreset":             {boolean, true, owner},
	"nsaccountlock":        {boolean, true, owner},
	"pwdpolicysubentry":    {distinguished, true, everyone},

	"entryuuid":             {ignoreCase, true, everyone},
	"entrydn":               {distinguished, true, everyone},
	"memberof":              {distinguished, true, everyone},
	"entrycsn":              {exact, true, everyone},
	"structuralobjectclass": {ignoreCase, true, everyone},
	"createtimestamp":       {timestamp, true, everyone},
	"modifytimestamp":       {timestamp, true, everyone},
	"creatorsname":          {distinguished, true, everyone},
	"modifiersname":         {distinguished, true, everyone},

	"namingcontexts":       {distinguished, true, everyone},
	"supportedldapversion": {integer, true, everyone},
	"supportedcontrol":     {ignoreCase, true, everyone},
	"supportedextension":   {ignoreCase, true, everyone},
	"vendorname":           {ignoreCase, true, everyone},

	"member":       {distinguished, false, everyone},
	"uniquemember": {distinguished, false, everyone},
	"owner":        {distinguished, false, everyone},
	"manager":      {distinguished, false, everyone},
	"secretary":    {distinguished, false, everyone},
	"seealso":      {distinguished, false, everyone},
	"roleoccupant": {distinguished, false, everyone},

	"memberuid":     {exact, false, everyone}, // RFC 2307: caseExactIA5Match
	"homedirectory": {exact, false, everyone},
	"loginshell":    {exact, false, everyone},

	"uidnumber": {integer, false, everyone},
	"gidnumber": {integer, false, everyone},
}

// typeOf is the type of an attribute however its name is typed, options left
// aside.
func typeOf(name string) attributeType {
	bare, _, _ := strings.Cut(name, ";")
	return attributeTypes[strings.ToLower(bare)]
}

// form is how a value is written so that two are equal exactly if they are the
// same string. The error says what a value of this kind is.
func (c comparison) form(v string) (string, error) {
	switch c {
	case exact:
		return v, nil
	case distinguished:
		dn, err := directory.ParseDN(v)
		if err != nil {
			err = fmt.Errorf("%q %w", clip(v), err)
		}
		return dn.Key(), err
	case boolean:
		if !isTrue(v) && !strings.EqualFold(v, "FALSE") {
			return "", fmt.Errorf("%q: want TRUE or FALSE", clip(v))
		}
		return strings.ToUpper(v), nil
	case integer:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return "", fmt.Errorf("%q: want a whole number", clip(v))
		}
		return fmt.Sprintf("%020d", uint64(n)^1<<63), nil // the strings are in the order of the numbers
	case timestamp:
		t, err := parseTime(v)
		return t.UTC().Format("20060102150405.000000000"), err
	}
	return directory.FoldValue(v), nil
}

// parseTime reads a GeneralizedTime that ends in Z (RFC 4517, section 3.3.13);
// seconds and fractions may be missing.
func parseTime(v string) (time.Time, error) {
	const whole, minutes = "20060102150405Z", "200601021504Z" // Parse takes fractions anyway
	if t, err := time.Parse(whole, v); err == nil {
		return t, nil
	}
	t, err := time.Parse(minutes, v)
	if err != nil {
		return t, fmt.Errorf("time %q: want YYYYMMDDHHMMSSZ, such as 20260131120000Z", clip(v))
	}
	return t, nil
}

func formatTime(t time.Time) string { return t.UTC().Format("20060102150405Z") }

// isTrue reads a boolean attribute; 389-ds also writes it in lower case.
func isTrue(v string) bool { return strings.EqualFold(v, "TRUE") }
