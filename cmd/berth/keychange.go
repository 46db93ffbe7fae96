package main

import (
	"fmt"
	"slices"

	"berth/config"
	"berth/policy"
)

// keyChangeWarnings names the directories in which the service "keys" of a
// rule can only list keys.
func keyChangeWarnings(cfg *config.Config) []string {
	if !slices.ContainsFunc(cfg.Rules, func(r policy.Rule) bool { return slices.Contains(r.Services, "keys") }) {
		return nil
	}
	var all []string
	for i, d := range cfg.Directories {
		if way := d.Complete().KeyChange; way != "service" {
			all = append(all, fmt.Sprintf("directories[%d].key_change: %s: the service keys can only list them there", i, way))
		}
	}
	return all
}

// keyChangeOf is keyChangeWarnings for the directory of one user.
func keyChangeOf(cfg *config.Config, p *policy.Policy) []string {
	for _, d := range cfg.Directories {
		if d = d.Complete(); d.Name == p.User.Source && d.KeyChange != "service" && p.Allows("keys") {
			return []string{fmt.Sprintf("key_change of directory %s: %s: the service keys can only list them", d.Name, d.KeyChange)}
		}
	}
	return nil
}
