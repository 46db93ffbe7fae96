package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version of this source. The linker may set another one.
var release = "0.1.0"

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				info = &debug.BuildInfo{}
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{
					"version": release + revision(info), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "ssh_library": sshLibrary(info),
				})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "berth %s%s (%s, %s/%s)\nSSH library: %s\n",
				release, revision(info), runtime.Version(), runtime.GOOS, runtime.GOARCH, sshLibrary(info))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return cmd
}

// revision is the commit this was built from, if the build recorded one.
func revision(info *debug.BuildInfo) string {
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "+" + s.Value[:12]
		}
	}
	return ""
}

// sshLibrary is the version of the SSH library, and whether it has Berth's
// patches: docs/adr/0009-patches-for-the-ssh-library.md.
func sshLibrary(info *debug.BuildInfo) string {
	for _, m := range info.Deps {
		switch {
		case m.Path != "golang.org/x/crypto":
		case m.Replace != nil:
			return m.Path + " " + m.Version + " with Berth's patches"
		default:
			return m.Path + " " + m.Version + " without Berth's patches; build with make to have them"
		}
	}
	return "unknown"
}
