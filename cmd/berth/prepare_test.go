package main

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/config"
	"berth/sshd/oidc"
	"berth/test/peers"
)

// demoConfig returns the configuration of a demonstration on free ports, and its
// folder.
func demoConfig(t *testing.T) (*config.Config, string) {
	t.Helper()
	dir := t.TempDir()
	d := demo{Dir: dir, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(dir + "/berth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log.Level = "error"
	cfg.HostKeys = []string{dir + "/ed25519"} // an RSA key takes a second to make
	return cfg, dir
}

// serveOnce serves until clients could connect.
func serveOnce(t *testing.T, cfg *config.Config) error {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	return serve(ctx, cfg, cfg, func(*running) { cancel() })
}

// TestCheckAndServeAgree spoils one thing after the other: check finds it if and
// only if the server does not start, and leaves no trace.
func TestCheckAndServeAgree(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	write := func(file, text string, mode os.FileMode) string {
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Error(err)
		}
		return file
	}
	tests := []struct {
		name  string
		spoil func(cfg *config.Config, dir string)
		want  string // of both; empty: the server starts
	}{
		{"nothing", func(*config.Config, string) {}, ""},
		{"an empty key", func(c *config.Config, dir string) { c.HostKeys = []string{write(dir+"/key", "", 0o600)} }, "host key"},
		{"a key that others can read", func(c *config.Config, dir string) {
			text, _ := os.ReadFile(dir + "/keys/alice")
			c.HostKeys = []string{write(dir+"/key", string(text), 0o644)}
		}, "mode 0644"},
		{"a folder of keys that is a file", func(c *config.Config, dir string) { c.HostKeys = []string{write(dir+"/file", "", 0o600) + "/ed25519"} }, "not a"},
		{"new folders", func(c *config.Config, dir string) {
			c.HostKeys, c.Events.File = []string{dir + "/a/b/ed25519"}, dir+"/c/d/events"
		}, ""},
		{"an event file that is a folder", func(c *config.Config, dir string) { c.Events.File = dir }, "is a directory"},
		{"a folder of events that is a file", func(c *config.Config, dir string) { c.Events.File = write(dir+"/file", "", 0o600) + "/events" }, "not a"},
		{"an event file that is a socket", func(c *config.Config, dir string) {
			l, err := net.Listen("unix", dir+"/s")
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { l.Close() })
			c.Events.File = dir + "/s"
		}, "is a pipe or a socket"},
		{"standard output for events", func(c *config.Config, _ string) { c.Events.File = "stderr" }, ""},
		{"no events", func(c *config.Config, _ string) { c.Events.File = "" }, ""},
		{"a CA of syslog that is missing", func(c *config.Config, dir string) {
			c.Events.Syslog.Address, c.Events.Syslog.CAFile = "tls://127.0.0.1:1", dir+"/none"
		}, "events.syslog"},
		{"a port in use", func(c *config.Config, _ string) { c.Listen = []string{taken.Addr().String()} }, "in use"},
		{"a port for operators in use", func(c *config.Config, _ string) { c.Admin.Listen = taken.Addr().String() }, "in use"},
		{"a port for the web page in use", func(c *config.Config, _ string) { c.Console.Listen = taken.Addr().String() }, "console.listen: "},
		{"a missing key of no known type", func(c *config.Config, dir string) { c.HostKeys = []string{dir + "/key"} }, "its name should hold ed25519"},
		{"a second port in use", func(c *config.Config, _ string) { c.Listen = append(c.Listen, taken.Addr().String()) }, "in use"},
		{"another machine's address", func(c *config.Config, _ string) { c.Listen = []string{"192.0.2.7:0"} }, "assign"},
		{"both wildcards", func(c *config.Config, _ string) {
			port := freePort(t, "")
			c.Listen = []string{"0.0.0.0:" + port, "[::]:" + port}
		}, ""},
		{"no banner", func(c *config.Config, dir string) { c.SSH.Banner = dir + "/none" }, "ssh.banner: "},
		{"a banner in Latin-1", func(c *config.Config, dir string) { c.SSH.Banner = write(dir+"/banner", "Gr\xfc\xdfe", 0o644) }, "UTF-8"},
		{"a message in Latin-1", func(c *config.Config, dir string) { c.SSH.MOTD = write(dir+"/motd", "Gr\xfc\xdfe", 0o644) }, "ssh.motd: "},
		{"a banner in UTF-8", func(c *config.Config, dir string) { c.SSH.Banner = write(dir+"/banner", "Grüße", 0o644) }, ""},
		{"no folder for the pid file", func(c *config.Config, dir string) { c.PIDFile = dir + "/none/pid" }, "pid_file: "},
		{"no folder for the socket", func(c *config.Config, dir string) { c.Admin.Socket = dir + "/none/s" }, "admin.socket: "},
		{"no authority", func(c *config.Config, dir string) { c.Certificates.CAKeys = []string{dir + "/none"} }, "certificates: "},
		{"no keytab", func(c *config.Config, dir string) { c.Kerberos.Keytab = dir + "/none" }, "keytab"},
		{"one-time codes that others can read", func(c *config.Config, dir string) {
			c.TOTP.File, c.TOTP.KeyFile = write(dir+"/codes", "x", 0o644), dir+"/none"
		}, "mode 0644"},
		{"no certificate of a host key", func(c *config.Config, dir string) {
			c.HostKeys, c.HostCertificates = []string{dir + "/keys/alice"}, []string{dir + "/none"}
		}, "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, dir := demoConfig(t)
			tt.spoil(cfg, dir)
			before := files(t, dir)
			err := rehearse(cfg)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("check: %v, want %q", err, tt.want)
			}
			if after := files(t, dir); !slices.Equal(before, after) {
				t.Errorf("check left files behind: %q, before: %q", after, before)
			}
			err = serveOnce(t, cfg)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("serve: %v, want %q", err, tt.want)
			}
		})
	}
}

// TestCheckBesideTheServer finds the server's own ports in use, and only those.
func TestCheckBesideTheServer(t *testing.T) {
	cfg, dir := demoConfig(t)
	cfg.Listen, cfg.PIDFile = []string{"127.0.0.1:" + freePort(t, "127.0.0.1")}, dir+"/berth.pid"
	server, end := hold(t, cfg.PIDFile, cfg.Listen[0])
	if err := rehearse(cfg); err != nil {
		t.Errorf("check beside the running server: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg.Listen = append(cfg.Listen, taken.Addr().String())
	if err := rehearse(cfg); err == nil || !strings.Contains(err.Error(), "in use") || strings.Contains(err.Error(), cfg.Listen[0]) {
		t.Errorf("check with a port of another program than %d: %v, want it to be named", server.Process.Pid, err)
	}
	end()
}

// TestCheckAsksTheProvider: the server starts without the identity provider, and check
// says that it does not answer.
func TestCheckAsksTheProvider(t *testing.T) {
	cfg, _ := demoConfig(t)
	cfg.OIDC = oidc.DefaultSettings()
	cfg.OIDC.Issuer, cfg.OIDC.ClientID = "https://127.0.0.1:"+freePort(t, "127.0.0.1"), "berth"
	if err := rehearse(cfg); err == nil || !strings.Contains(err.Error(), "oidc.issuer: ") {
		t.Errorf("check without the provider: %v", err)
	}
	if err := serveOnce(t, cfg); err != nil {
		t.Errorf("serve without the provider: %v", err)
	}
}

// freePort returns a port that nobody listens on at an address.
func freePort(t *testing.T, address string) string {
	t.Helper()
	port, err := peers.FreePort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// files returns the names of everything below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	if err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		all = append(all, name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
