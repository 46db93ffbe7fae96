package main

// freeOffers lets the server decide how many refused key offers do not count as tries.
// The library uses MaxAuthTries for both. An agent may hold more keys than a person
// may have tries. The error of the callback contains the number.
//
// Upstream: no issue is known. Remove the patch when the library has a setting.
var freeOffers = patch{
	name: "free_offers",
	edits: []edit{
		{"server.go", "func (s *connection) serverAuthenticate", "if pubKeyQueryFailures <= config.MaxAuthTries {", "if pubKeyQueryFailures <= offersAllowed(authErr, config.MaxAuthTries) {"},
	},
	code: `
func offersAllowed(refusal error, otherwise int) int {
	if r, ok := refusal.(interface{ FreeOffers() int }); ok {
		return r.FreeOffers()
	}
	return otherwise
}
`,
}
