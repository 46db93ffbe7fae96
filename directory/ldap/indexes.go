package ldap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"berth/directory"
)

// Indexes reports which of the attributes that Find searches have no index on the server
// for how a value begins. Without it the server reads everybody. It asks one server.
func (c *Client) Indexes(ctx context.Context) []Finding {
	const what = "search by beginnings"
	s, r := c.settings, reporter{c: c}
	if s.Kind == "embedded" || s.BindAs != "" || strings.Contains(s.UserFilter, "%u") {
		return nil
	}
	root, _, err := read(ctx, c.search, "", append(rootAttributes, "schemaNamingContext")...)
	brand, _ := brandOf(root)
	shown, known := indexesOf[brand.kind]
	if err == nil && !known {
		err = fmt.Errorf("how this server shows them is not known")
	}
	var indexed map[string]bool
	if err == nil {
		indexed, err = shown.read(ctx, c.search, directory.DNOf(s.Base), root)
	}
	if err != nil {
		r.add(Note, what, "%s need an index on the server for how a value begins; it could not be read: %v%s", strings.Join(s.findBy(), ", "), err, shown.look)
		return r.findings
	}
	missing := slices.DeleteFunc(s.findBy(), func(a string) bool { return indexed[strings.ToLower(a)] })
	switch {
	case len(missing) > 0:
		r.add(Warning, what, "the server has no index of %s for how a value begins, and reads everybody for a search on the page People: add %s (docs/console.md)", strings.Join(missing, ", "), shown.add)
	case strings.Contains(root.first("vendorName"), "Samba"):
		r.add(Note, what, "Samba uses its indexes for whole values only, and reads everybody for a search on the page People")
	default:
		r.add(OK, what, "%s have an index", strings.Join(s.findBy(), ", "))
	}
	return r.findings
}

// A shownIndexes is how a kind of server shows its indexes.
type shownIndexes struct {
	// read returns the attributes, in lower case, that have an index for how a value
	// begins, in the database with base.
	read func(ctx context.Context, search searchFunc, base directory.DN, root entry) (map[string]bool, error)
	add  string // the indexes to add
	look string // what an administrator of the server can type to see them
}

var indexesOf = map[string]shownIndexes{
	"openldap": {
		openLDAPIndexes, "the type sub to olcDbIndex",
		"; on the server, as root: ldapsearch -Q -Y EXTERNAL -H ldapi:/// -b cn=config olcDbIndex=* olcDbIndex",
	},
	"389ds":            {ds389Indexes, "the index type sub", "; on the server, as root: dsconf INSTANCE backend index list userroot"},
	"freeipa":          {ds389Indexes, "the index type sub", "; on the server, as root: dsconf INSTANCE backend index list userroot"},
	"active_directory": {schemaIndexes, "1 to their searchFlags in the schema", ""},
}

// openLDAPIndexes reads the configuration of the database (slapd-mdb(5)):
//
//	olcDbIndex: cn,sn eq,sub
//	olcDbIndex: default pres,sub
//	olcDbIndex: mail
func openLDAPIndexes(ctx context.Context, search searchFunc, base directory.DN, _ entry) (map[string]bool, error) {
	db, err := databaseOf(ctx, search, base, "cn=config", "olcDatabaseConfig", "olcSuffix", "olcDbIndex")
	indexed, usual := map[string]bool{}, ""
	for _, line := range db.all("olcDbIndex") {
		names, types, _ := strings.Cut(line, " ")
		if types = strings.TrimSpace(types); strings.EqualFold(names, "default") {
			usual = types
			continue
		}
		if types == "" {
			types = usual
		}
		for name := range strings.SplitSeq(strings.ToLower(names), ",") {
			indexed[name] = indexed[name] || hasType(types, "sub", "subinitial")
		}
	}
	return indexed, err
}

// ds389Indexes reads the indexes of the database.
func ds389Indexes(ctx context.Context, search searchFunc, base directory.DN, _ entry) (map[string]bool, error) {
	db, err := databaseOf(ctx, search, base, "cn=ldbm database,cn=plugins,cn=config", "nsBackendInstance", "nsslapd-suffix")
	if err != nil {
		return nil, err
	}
	indexes, _, err := upTo(ctx, search, "cn=index,"+db.dn, "(objectClass=nsIndex)", sample, "cn", "nsIndexType")
	indexed := map[string]bool{}
	for _, e := range indexes {
		indexed[strings.ToLower(e.first("cn"))] = hasType(strings.Join(e.all("nsIndexType"), ","), "sub")
	}
	return indexed, err
}

func hasType(types string, wanted ...string) bool {
	return slices.ContainsFunc(strings.Split(types, ","), func(t string) bool { return contains(wanted, strings.TrimSpace(t)) })
}

// schemaIndexes reads the schema of Active Directory. Its indexes are ordered, so they serve
// beginnings, too ([MS-ADTS] 2.2.10, fATTINDEX).
func schemaIndexes(ctx context.Context, search searchFunc, _ directory.DN, root entry) (map[string]bool, error) {
	entries, _, err := upTo(ctx, search, root.first("schemaNamingContext"), "(&(objectClass=attributeSchema)(searchFlags:1.2.840.113556.1.4.803:=1))", maxEntries, "lDAPDisplayName")
	indexed := map[string]bool{}
	for _, e := range entries {
		indexed[strings.ToLower(e.first("lDAPDisplayName"))] = true
	}
	if err == nil && len(indexed) == 0 {
		err = fmt.Errorf("the service account may not read the schema")
	}
	return indexed, err
}

// databaseOf returns the entry of the database with base: the one with the longest suffix.
func databaseOf(ctx context.Context, search searchFunc, base directory.DN, where, class, suffix string, attributes ...string) (db entry, err error) {
	all, _, err := upTo(ctx, search, where, "(objectClass="+class+")", sample, append(attributes, suffix)...)
	longest := -1
	for _, e := range all {
		for _, s := range e.all(suffix) {
			if dn := directory.DNOf(s); base.Within(dn) && len(dn.Key()) > longest {
				db, longest = e, len(dn.Key())
			}
		}
	}
	if err == nil && longest < 0 {
		err = fmt.Errorf("the service account may not read %s", where)
	}
	return db, err
}
