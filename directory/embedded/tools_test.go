package embedded

import (
	"net"
	"os/exec"
	"strings"
	"testing"
)

// TestTools drives the server with the client programs of OpenLDAP.
func TestTools(t *testing.T) {
	if _, err := exec.LookPath("ldapsearch"); err != nil {
		t.Skip("ldap-utils is not installed: no ldapsearch")
	}
	s := open(t, Settings{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	service := []string{"-D", serviceDN, "-w", s.password}
	as := func(dn, password string) []string { return []string{"-D", dn, "-w", password} }

	tests := []struct {
		name  string
		tool  string
		bind  []string
		args  []string
		stdin string
		want  []string // each is in the output
		not   []string // none is
	}{
		{name: "root DSE", tool: "ldapsearch", args: []string{"-b", "", "-s", "base", "+"}, want: []string{"namingContexts: " + base}},
		{name: "anonymous", tool: "ldapsearch", args: []string{"-b", base}, want: []string{"50 Insufficient access"}},
		{
			name: "look-up", tool: "ldapsearch", bind: service, args: []string{"-b", base, "(uid=ALICE)", "*", "memberOf", "pwdChangedTime"},
			want: []string{"sshPublicKey: ssh-ed25519", "memberOf: cn=staff,", "memberOf: cn=finance,", "pwdChangedTime: "},
			not:  []string{"userPassword", "pwdHistory", "memberOf: cn=everyone"},
		},
		{
			name: "pages", tool: "ldapsearch", bind: service, args: []string{"-b", base, "-E", "pr=4/noprompt", "(objectClass=inetOrgPerson)", "uid"},
			want: []string{"uid: alice", "uid: mallory", "# numEntries: 6"},
		},
		{name: "size limit", tool: "ldapsearch", bind: service, args: []string{"-b", base, "-z", "2", "uid"}, want: []string{"4 Size limit exceeded", "# numEntries: 2"}},
		{name: "must change", tool: "ldapsearch", bind: as(erin, "erin-demo-1"), args: []string{"-e", "ppolicy"}, want: []string{"Password must be changed"}},
		{name: "disabled", tool: "ldapsearch", bind: as(dave, "dave-demo-1"), args: []string{"-e", "ppolicy"}, want: []string{"(53)", "Account locked"}},
		{name: "wrong password", tool: "ldapsearch", bind: as(alice, "wrong"), want: []string{"Invalid credentials (49)"}},
		{
			name: "keys", tool: "ldapmodify", bind: service, want: []string{"modifying entry"},
			stdin: "dn: " + bob + "\nchangetype: modify\nadd: sshPublicKey\nsshPublicKey: ssh-ed25519 AAAA bob\n",
		},
		{
			name: "own keys", tool: "ldapmodify", bind: as(bob, "bob-demo-1"), want: []string{"Insufficient access (50)"},
			stdin: "dn: " + bob + "\nchangetype: modify\ndelete: sshPublicKey\n",
		},
		{name: "short password", tool: "ldappasswd", bind: as(erin, "erin-demo-1"), args: []string{"-a", "erin-demo-1", "-s", "short"}, want: []string{"too short"}},
		{name: "new password", tool: "ldappasswd", bind: as(erin, "erin-demo-1"), args: []string{"-a", "erin-demo-1", "-s", "erin-demo-2"}},
		{name: "new password works", tool: "ldapsearch", bind: as(erin, "erin-demo-2"), args: []string{"-b", erin, "uid"}, want: []string{"uid: erin"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"-x", "-H", "ldap://" + l.Addr().String()}, append(tt.bind, tt.args...)...)
			cmd := exec.CommandContext(t.Context(), tt.tool, args...)
			cmd.Stdin = strings.NewReader(tt.stdin)
			out, _ := cmd.CombinedOutput() // the text says more than the status
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s: got %s want %q", tt.tool, out, want)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(string(out), not) {
					t.Errorf("%s: got %s want no %q", tt.tool, out, not)
				}
			}
		})
	}
}
