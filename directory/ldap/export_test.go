package ldap

// Searches returns how many searches were sent so far.
func (c *Client) Searches() int64 { return c.searches.Load() }

// DomainLocal is the filter of resource groups with a member.
func DomainLocal(member string) string { return domainLocal([]string{member}) }
