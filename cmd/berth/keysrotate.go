package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"berth/config"
)

func keysRotateCommand() *cobra.Command {
	return configCommand("rotate", "Show how to replace the host keys",
		`Rotate shows the host keys of the configuration, and for each type the next step to
a new key. It changes nothing. The server announces all its keys to everybody who
logs in. OpenSSH's ssh (8.5 or newer) asks for a proof, and then stores those that
it does not know. So clients know a new key before it is used.`, cobra.NoArgs, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
			keys := make([]namedKey, len(cfg.HostKeys))
			for i, path := range cfg.HostKeys {
				k, err := readKey(path, passphraseFrom(cfg.HostKeyPassphraseFile))
				if err != nil {
					return err
				}
				keys[i] = namedKey{path, k.Public}
			}
			return rotation(cmd.OutOrStdout(), keys)
		})
}

// A namedKey is a host key and its file.
type namedKey struct {
	file string
	ssh.PublicKey
}

// rotation prints the keys, and the next step for each type.
func rotation(w io.Writer, keys []namedKey) error {
	table := newTable(w)
	files := map[string][]string{} // of each type
	for _, k := range keys {
		use := "in use"
		if len(files[k.Type()]) > 0 {
			use = "announced"
		}
		files[k.Type()] = append(files[k.Type()], k.file)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", ssh.FingerprintSHA256(k), k.Type(), use, k.file)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, t := range slices.Sorted(maps.Keys(files)) {
		used, more := files[t][0], files[t][1:]
		if len(more) == 0 {
			fmt.Fprintf(w, oneKey, t, used+"-2")
			continue
		}
		fmt.Fprintf(w, twoKeys, t, used, strings.Join(more, ", "))
	}
	return nil
}

// What to do with a type of which there is one key, and with one of which there are two.
const (
	oneKey = `
To replace the key of type %s:
  1. Make another one:  sudo -u berth berth keys make %s
  2. Add this file at the end of host_keys, and restart the server. It announces the key from now on.
  3. When everybody has logged in once, run this command again.
`
	twoKeys = `
There are two keys of type %[1]s: %[2]s is in use, %[3]s is announced.
  - If the announced key is the new one: when everybody has logged in once, put it before
    %[2]s in host_keys, and restart the server.
  - If it is the old one: when everybody has logged in again, remove it from host_keys, and
    restart the server. Clients then forget it.
`
)
