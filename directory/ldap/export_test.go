package ldap

// Searches returns how many searches were sent so far.
func (c *Client) Searches() int64 { return c.searches.Load() }
