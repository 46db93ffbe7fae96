package embedded

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/directory"
)

// An attributeType is what the server knows about an attribute. There is no
// full schema. An attribute that is not in the table is a user attribute whose
// values ignore case, like nearly all others.
type attributeType struct {
	compare comparison
	readers readers
}

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
	serviceOnly                // the service account only: somebody who knows the password must not find the other factor here
	nobody
)

var attributeTypes = map[string]attributeType{
	"userpassword": {exact, nobody},
	"pwdhistory":   {exact, nobody},

	"sshpublickey": {exact, owner},
	"totpsecret":   {exact, serviceOnly},

	"pwdchangedtime":       {timestamp, owner},
	"pwdaccountlockedtime": {timestamp, owner},
	"pwdfailuretime":       {timestamp, owner},
	"pwdstarttime":         {timestamp, owner},
	"pwdendtime":           {timestamp, owner},
	"pwdreset":             {boolean, owner},
	"nsaccountlock":        {boolean, owner},
	"pwdpolicysubentry":    {distinguished, everyone},

	"entrydn":  {distinguished, everyone},
	"memberof": {distinguished, everyone},

	"member":       {distinguished, everyone},
	"uniquemember": {distinguished, everyone},
	"owner":        {distinguished, everyone},
	"manager":      {distinguished, everyone},
	"secretary":    {distinguished, everyone},
	"seealso":      {distinguished, everyone},
	"roleoccupant": {distinguished, everyone},

	"memberuid":     {exact, everyone}, // RFC 2307: caseExactIA5Match
	"homedirectory": {exact, everyone},
	"loginshell":    {exact, everyone},

	"uidnumber": {integer, everyone},
	"gidnumber": {integer, everyone},
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
		t, err := directory.ParseTime(v)
		return t.UTC().Format("20060102150405.000000000"), err
	}
	return directory.FoldValue(v), nil
}

func formatTime(t time.Time) string { return t.UTC().Format("20060102150405Z") }

// isTrue reads a boolean attribute; 389-ds also writes it in lower case.
func isTrue(v string) bool { return strings.EqualFold(v, "TRUE") }
