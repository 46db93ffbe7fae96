package sftp_test

import (
	"fmt"
	"io"
	"net"
	"os"

	client "github.com/pkg/sftp"

	"berth/fs"
	"berth/policy"
	"berth/sshd/sftp"
)

// A server on one end of a pipe, over a directory in which one may only read.
func ExampleServe() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(dir+"/note", []byte("hello"), 0o600); err != nil {
		panic(err)
	}
	files, err := fs.Open(&policy.Policy{
		Folders: []policy.Folder{{Path: "/", Host: dir}},
		Access:  []policy.Access{{Path: "/", Ops: policy.ReadOnly}},
	}, fs.Settings{})
	if err != nil {
		panic(err)
	}
	defer files.Close()

	here, there := net.Pipe()
	ended := make(chan error)
	go func() { ended <- sftp.Serve(there, files, sftp.Options{User: "alice"}) }()

	c, err := client.NewClientPipe(here, here)
	if err != nil {
		panic(err)
	}
	f, err := c.Open("/note")
	if err != nil {
		panic(err)
	}
	b, err := io.ReadAll(f)
	fmt.Printf("%s %v\n", b, err)
	fmt.Println(c.Remove("/note"))
	here.Close()
	fmt.Println(<-ended)
	c.Close()
	// Output:
	// hello <nil>
	// remove /note: permission denied
	// <nil>
}
