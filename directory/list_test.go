package directory

import (
	"errors"
	"fmt"
	"testing"
)

func TestUsers(t *testing.T) {
	first, second, third := newFake("alice", "bob"), newFake("alice"), newFake("carol")
	first.listed, second.listed = []string{"alice", "bob"}, []string{"alice"}
	second.listErr, third.listErr = errDown, ErrNotListed
	join := func(a, b Directory) Directory {
		j, err := Join(Member{Name: "a", Directory: a}, Member{Name: "b", Directory: b})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	tests := []struct {
		name string
		from Directory
		want string
		err  error
	}{
		{"through layers", NewCache(NewShield(first, 0, 0), 0, 0), "[alice bob]", nil},
		{"joined", join(first, second), "[alice bob alice@b]", errDown},
		{"one that cannot tell", join(first, third), "[alice bob]", ErrNotListed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			names := []string{}
			var failed error
			for u, err := range tt.from.Users(t.Context()) {
				if err != nil {
					failed = err
					continue
				}
				names = append(names, u.Name)
			}
			if got := fmt.Sprint(names); got != tt.want || !errors.Is(failed, tt.err) {
				t.Errorf("Users = %s, %v, want %s, %v", got, failed, tt.want, tt.err)
			}
			for range tt.from.Users(t.Context()) {
				break // must not go on
			}
		})
	}
}
