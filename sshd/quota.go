package sshd

import (
	"context"
	"fmt"

	"berth/fs"
)

// serveQuota shows the space in each folder of the view, as df does: of its quota, or of
// the disk. It shows the number of files where a quota limits that.
func serveQuota(_ context.Context, s *session, _ string) (uint32, error) {
	files, err := s.open("quota")
	if err != nil {
		return 1, err
	}
	defer files.Close()
	s.say(s.ch, fmt.Sprintf("%-24s %10s %10s %10s %14s", "folder", "size", "used", "free", "files"))
	for _, f := range s.conn.grant.Load().Policy.Folders {
		u, err := files.StatFS(f.Path)
		if err != nil {
			s.say(s.ch, fmt.Sprintf("%-24s not known", f.Path))
			continue
		}
		line := fmt.Sprintf("%-24s %10s %10s %10s", f.Path, blocks(u, u.Blocks), blocks(u, u.Blocks-u.BlocksFree), blocks(u, u.BlocksAvail))
		if f.QuotaFiles > 0 {
			line += fmt.Sprintf(" %14s", fmt.Sprintf("%d of %d", u.Files-u.FilesFree, u.Files))
		}
		s.say(s.ch, line)
	}
	return 0, nil
}

// blocks is n blocks of u, for people.
func blocks(u fs.Usage, n uint64) string {
	size, unit := float64(n*u.BlockSize), 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	for ; size >= 1024 && unit < len(units)-1; unit++ {
		size /= 1024
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}
