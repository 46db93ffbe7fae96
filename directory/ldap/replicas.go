package ldap

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// replicas reports servers of the directory that are not replicas of each other: after a
// failover people would be unknown, or be other people. It compares the stable ids of the
// entries called names.
func (r *reporter) replicas(ctx context.Context, names ...string) {
	const what = "replicas"
	servers, err := r.c.pool.listed(ctx)
	if err != nil || len(servers) < 2 || r.c.settings.BindAs != "" {
		return // Report says why
	}
	type answer struct {
		url string
		ids map[string]string // by DN
	}
	var answers []answer
	for _, s := range servers {
		ids, err := r.c.idsOn(ctx, s, names)
		if err != nil {
			r.add(Note, what, "%s could not be compared with the others: %v", s.url, err)
			continue
		}
		answers = append(answers, answer{s.url, ids})
	}
	if len(answers) < 2 {
		return
	}
	var equal []string
	for _, dn := range names {
		i := slices.IndexFunc(answers, func(a answer) bool { return a.ids[dn] != "" })
		if i < 0 {
			r.add(Note, what, "could not be compared by %q: the service account may not read its id, or it has no entry", dn)
			continue
		}
		first := answers[i]
		before := len(r.findings)
		for _, a := range answers {
			switch a.ids[dn] {
			case first.ids[dn]:
			case "":
				r.add(Bad, what, "%s and %s are not replicas of each other: only the first has %q with an id that the service account may read", first.url, a.url, dn)
			default:
				r.add(Bad, what, "%s and %s are not replicas of each other: %q has the id %s on the first and %s on the second: if they are two directories, each must be an entry of its own in directories",
					first.url, a.url, dn, first.ids[dn], a.ids[dn])
			}
		}
		if len(r.findings) == before {
			equal = append(equal, dn)
		}
	}
	if len(equal) > 0 {
		r.add(OK, what, "%d servers have the same id of %s", len(answers), strings.Join(equal, " and of "))
	}
}

// idsOn returns the stable ids that a server has of entries, whatever its health. An entry
// that is no user may lack the attribute of users' ids, as on FreeIPA.
func (c *Client) idsOn(ctx context.Context, s *server, names []string) (map[string]string, error) {
	cn, err := c.pool.connectTo(ctx, s, c.settings.ConnectTimeout, c.asService())
	if err != nil {
		return nil, err
	}
	defer cn.close()
	ids := map[string]string{}
	for _, dn := range names {
		e, _, err := read(ctx, c.searchOn(cn), dn, c.settings.IDAttribute, "entryUUID", "nsUniqueId")
		if err != nil {
			return nil, err
		}
		ids[dn] = cmp.Or(idText(c.settings.IDAttribute, e.first(c.settings.IDAttribute)), e.first("entryUUID"), e.first("nsUniqueId"))
	}
	return ids, nil
}
