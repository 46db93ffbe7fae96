package directory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
)

// listed is a Directory that lists some users, and then fails if it is to.
type listed struct {
	*fake
	names []string
	err   error
}

func (l listed) Users(context.Context) iter.Seq2[*User, error] {
	return func(yield func(*User, error) bool) {
		for _, name := range l.names {
			if !yield(l.users[name], nil) {
				return
			}
		}
		if l.err != nil {
			yield(nil, l.err)
		}
	}
}

func TestUsers(t *testing.T) {
	first := listed{newFake("alice", "bob"), []string{"alice", "bob"}, nil}
	second := listed{newFake("alice"), []string{"alice"}, errDown}
	join := func(a, b Directory) Lister {
		j, err := Join(Member{Name: "a", Directory: a}, Member{Name: "b", Directory: b})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	tests := []struct {
		name string
		from Lister
		want string
		err  error
	}{
		{"through layers", NewCache(NewShield(first, 0, 0), 0, 0), "[alice bob]", nil},
		{"joined", join(first, second), "[alice bob alice@b]", errDown},
		{"one that cannot tell", join(first, newFake("carol")), "[alice bob]", ErrNotListed},
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
