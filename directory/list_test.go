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
		{"the first one cannot tell", join(third, first), "[alice@b bob@b]", ErrNotListed},
		{"the first one is down", join(second, first), "[alice alice@b bob@b]", errDown},
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

func TestFind(t *testing.T) {
	first, second := newFake("alice", "albert"), newFake("alice", "alma")
	first.listed, second.listed = []string{"albert", "alice"}, []string{"alice", "alma"}
	j, err := Join(Member{Name: "a", Directory: NewCache(NewShield(first, 0, 0), 0, 0)}, Member{Name: "b", Directory: second})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		prefix string
		most   int
		want   string
		more   bool
	}{
		{"al", 9, "[{a albert  } {a alice  } {b alice@b  } {b alma@b  }]", false},
		{"al", 3, "[{a albert  } {a alice  } {b alice@b  }]", true},
		{"al", 1, "[{a albert  }]", true},
		{"alm", 9, "[{b alma@b  }]", false},
		{"x", 9, "[]", false},
	} {
		if found, more, err := j.Find(t.Context(), tt.prefix, tt.most); fmt.Sprint(found) != tt.want || more != tt.more || err != nil {
			t.Errorf("%q, %d: %v, %t, %v", tt.prefix, tt.most, found, more, err)
		}
	}
	second.listErr = errDown
	if found, _, err := j.Find(t.Context(), "al", 9); !errors.Is(err, errDown) || found != nil {
		t.Errorf("one is down: %v, %v", found, err)
	}
}
