package policy

import (
	"strings"
	"testing"
)

func TestParseOps(t *testing.T) {
	tests := []struct {
		names string
		want  Op
	}{
		{"", 0},
		{"list", List},
		{"list read", ReadOnly},
		{"write", Create | Overwrite},
		{"full", Full},
		{"read_only drop_box", List | Read | Create},
		{"list read create overwrite mkdir rename delete rmdir setattr symlink", Full},
	}
	for _, tt := range tests {
		got, err := ParseOps(strings.Fields(tt.names))
		if err != nil || got != tt.want {
			t.Errorf("ParseOps(%s) = %s, %v, want %s", tt.names, got, err, tt.want)
		}
	}
	if _, err := ParseOps([]string{"list", "raed"}); err == nil || !strings.Contains(err.Error(), `"raed" is not a permission: use some of list, read`) {
		t.Errorf("ParseOps(raed) = %v, want an error that names it and what there is", err)
	}
}

func TestOpString(t *testing.T) {
	for op, want := range map[Op]string{
		0:             "nothing",
		1 << 15:       "nothing",
		Create:        "create",
		Write:         "create, overwrite",
		Rmdir | List:  "list, rmdir",
		Full:          "full",
		Full &^ Write: "list, read, mkdir, rename, delete, rmdir, setattr, symlink",
	} {
		if got := op.String(); got != want {
			t.Errorf("Op(%d).String() = %q, want %q", op, got, want)
		}
	}
}
