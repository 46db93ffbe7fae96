package main

import (
	"fmt"
	"slices"

	"berth/config"
	"berth/policy"
)

// keyChangeWarnings says where rules give people the service "keys" and the
// directory lets them do no more than look.
func keyChangeWarnings(cfg *config.Config) []string {
	if !slices.ContainsFunc(cfg.Rules, func(r policy.Rule) bool { return slices.Contains(r.Services, "keys") }) {
		return nil
	}
	var all []string
	for i, d := range cfg.Directories {
		if k := d.Complete().KeyChange; k != "service" {
			all = append(all, fmt.Sprintf("directories[%d].key_change: %s: rules give the service keys, which can only list them there", i, k))
		}
	}
	return all
}
