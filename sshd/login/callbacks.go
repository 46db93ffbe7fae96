package login

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/sshd/early"
	"berth/sshd/event"
)

// Config returns the settings by which the SSH library runs the login.
func (a *Attempt) Config(hello early.Hello) *ssh.ServerConfig {
	g := a.gate
	cfg := &ssh.ServerConfig{
		Config:                    ssh.Config{KeyExchanges: g.KeyExchanges, Ciphers: g.ciphers(hello), MACs: g.MACs},
		PublicKeyAuthAlgorithms:   g.KeyAlgorithms,
		MaxAuthTries:              g.MaxTries,
		ServerVersion:             Identification,
		PreAuthConnCallback:       a.connected,
		BannerCallback:            func(ssh.ConnMetadata) string { return g.text("banner", g.Banner) },
		VerifiedPublicKeyCallback: a.key,
		AuthLogCallback: func(c ssh.ConnMetadata, method string, err error) {
			a.log.Debug("method tried", "name", Printable(c.User()), "method", Printable(method), "error", err)
		},
	}
	next := a.callbacks()
	cfg.PasswordCallback, cfg.PublicKeyCallback = next.PasswordCallback, next.PublicKeyCallback
	cfg.KeyboardInteractiveCallback, cfg.GSSAPIWithMICConfig = next.KeyboardInteractiveCallback, next.GSSAPIWithMICConfig
	old := g.legacy(a.peer.Remote.Addr())
	weaken(cfg, old, hello)
	for _, k := range firstOfType(g.hostKeys(old, hello)) {
		cfg.AddHostKey(k)
	}
	return cfg
}

// callbacks offers the methods that prove the factors named, or all.
func (a *Attempt) callbacks(factors ...string) ssh.ServerAuthCallbacks {
	offers := func(m string) bool { return len(factors) == 0 || slices.Contains(factors, m) }
	var cb ssh.ServerAuthCallbacks
	if offers(methodPublicKey) {
		cb.PublicKeyCallback = a.offer
	}
	if offers(methodPassword) {
		cb.PasswordCallback = a.password
	}
	password := offers(methodPassword) || offers(methodInteractive)
	a.browserToo = a.gate.SignIn != nil && offers(methodBrowser)
	switch {
	case !password && offers(factorCode):
		cb.KeyboardInteractiveCallback = a.code
	case a.browserToo && (!password || a.gate.SignIn.BrowserOnly()):
		cb.KeyboardInteractiveCallback = a.browser
	case password:
		cb.KeyboardInteractiveCallback = a.interactive
	}
	if offers(methodTicket) {
		cb.GSSAPIWithMICConfig = a.tickets()
	}
	return cb
}

// connected runs when keys have been exchanged, before the first try to log in.
func (a *Attempt) connected(pre ssh.ServerPreAuthConn) {
	a.pre = pre
	e := event.Event{Type: event.ConnectionOpened, Client: a.client}
	if c, ok := pre.(ssh.AlgorithmsConnMetadata); ok {
		n := c.Algorithms()
		e.Fields = map[string]string{"kex": n.KeyExchange, "host_key": n.HostKey, "cipher": n.Write.Cipher, "mac": n.Write.MAC}
	}
	a.emit(e)
}

// Connected reports whether keys were exchanged, so that the connection is
// known to the events.
func (a *Attempt) Connected() bool { return a.pre != nil }

// text reads the file of a setting at every login. If it cannot be read, the login
// continues without the text.
func (g *Gate) text(key, file string) string {
	if file == "" {
		return ""
	}
	text, err := os.ReadFile(file)
	if err != nil {
		g.Log.Warn("read a text for users", "setting", "ssh."+key, "error", err)
	}
	valid := strings.ToValidUTF8(string(text), "?") // clients end the connection at other bytes
	if valid == "" || strings.HasSuffix(valid, "\n") {
		return valid
	}
	return valid + "\n" // the client's next line follows
}
