package policy_test

import (
	"fmt"
	"time"

	"berth/directory"
	"berth/policy"
)

func ExampleSet_Resolve() {
	set, err := policy.Compile([]policy.Rule{
		{Name: "finance", When: policy.When{Groups: []string{"finance"}}, Folders: []policy.Mount{
			{Path: "/finance", Host: "/srv/finance", Permissions: []string{"full"}},
		}},
		{Name: "staff", When: policy.When{Groups: []string{"staff"}}, Home: &policy.Home{Host: "/srv/home/%u"}},
	})
	if err != nil {
		fmt.Println(err) // every mistake, with its key
		return
	}
	alice := &directory.User{Name: "alice", Groups: []directory.Group{{Name: "Staff"}, {Name: "Finance"}}}
	p, err := set.Resolve(policy.Request{User: alice, Method: "password", Time: time.Now()})
	if err != nil {
		fmt.Println(err) // denied, and why
		return
	}
	for _, f := range p.Folders {
		fmt.Println(f.Path, f.Host, p.Rights(f.Path).Ops)
	}
	fmt.Println(p.Check(policy.Read, "/finance/budget.csv"))

	bob := &directory.User{Name: "bob"}
	_, err = set.Resolve(policy.Request{User: bob, Method: "password", Time: time.Now()})
	fmt.Println(err)
	// Output:
	// / /srv/home/alice full
	// /finance /srv/finance full
	// <nil>
	// denied by policy: no rule matches bob
}
