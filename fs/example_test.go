package fs_test

import (
	"fmt"
	"os"

	"berth/fs"
	"berth/policy"
)

// A user with a home and a read-only folder in it.
func ExampleOpen() {
	home, err := os.MkdirTemp("", "home")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	p := &policy.Policy{
		Folders: []policy.Folder{
			{Path: "/", Host: home},
			{Path: "/shared", Host: home + "-shared", Create: true, Skeleton: []string{"forms"}},
		},
		Access: []policy.Access{
			{Path: "/", Ops: policy.Full},
			{Path: "/shared", Ops: policy.ReadOnly},
		},
	}
	defer os.RemoveAll(home + "-shared")
	view, err := fs.Open(p, fs.Settings{})
	if err != nil {
		panic(err)
	}
	defer view.Close()

	fmt.Println(view.Mkdir("/letters", 0o777))
	fmt.Println(view.Mkdir("/shared/letters", 0o777))
	for fi, err := range view.ReadDir("/shared") {
		fmt.Println(fi.Name(), err)
	}
	// Output:
	// <nil>
	// mkdir /shared/letters: permission denied
	// forms <nil>
}
