package scp_test

import (
	"fmt"

	"berth/sshd/scp"
)

func ExampleParse() {
	c, err := scp.Parse(`scp -r -p -f '/reports/2026 Q1' notes/*.txt`)
	fmt.Printf("%t %q %v\n", c.Source, c.Paths, err)

	_, err = scp.Parse("scp -t x; reboot")
	fmt.Println(err)

	_, err = scp.Parse("rsync --server . x")
	fmt.Println(err)
	// Output:
	// true ["/reports/2026 Q1" "notes/*.txt"] <nil>
	// scp: there is no shell here; put ';' in quotes if it is part of a name
	// rsync is not available here. Use sftp or scp, or a program that synchronises over SFTP, such as rclone, lftp or WinSCP.
}
