package audit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"berth/sshd/check"
	"berth/sshd/event"
	"berth/sshd/event/format"
	"berth/sshd/privatefile"
)

// Syslog says which server events are sent to, besides the file.
type Syslog struct {
	Address  string   `mapstructure:"address"`  // the address of the server: unix:///dev/log, udp://HOST:514, tcp://HOST:601 or tls://HOST:6514; empty: none
	Facility string   `mapstructure:"facility"` // the facility of the messages: auth, authpriv, daemon, or local0 to local7
	CAFile   string   `mapstructure:"ca_file"`  // PEM file with the authorities of the certificate of a tls:// server; empty: those of the system
	Types    []string `mapstructure:"types"`    // types of events that are sent, such as login_*; empty: all
	Format   string   `mapstructure:"format"`   // the format of the messages: json, ecs, ocsf or cef
}

// facilities of RFC 5424, section 6.2.1, that a server like this may have.
var facilities = map[string]int{
	"daemon": 3, "auth": 4, "authpriv": 10,
	"local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23,
}

// severities of RFC 5424 by outcome: information, notice, warning.
var severities = map[event.Outcome]int{event.Success: 6, event.Refused: 5, event.Failure: 4}

// syslogSchemes are the ways to a server, and the port each has by custom.
var syslogSchemes = map[string]string{"unix": "", "udp": "514", "tcp": "601", "tls": "6514"}

// Enabled reports whether there is a server.
func (s *Syslog) Enabled() bool { return s.Address != "" }

// check reports what in s cannot be used.
func (s *Syslog) check() (wrong check.Mistakes) {
	if !s.Enabled() {
		return nil
	}
	_, _, err := s.split()
	wrong.If(err != nil, "%w", err)
	_, ok := facilities[s.Facility]
	wrong.If(!ok, "syslog.facility: %q: must be auth, authpriv, daemon, or local0 to local7", s.Facility)
	_, err = matching(s.Types)
	wrong.If(err != nil, "syslog.types: %w", err)
	_, err = format.New(s.Format, "")
	wrong.If(err != nil, "syslog.%w", err)
	return wrong
}

// split returns the two halves of the address, the second as net.Dial wants it.
func (s *Syslog) split() (scheme, address string, err error) {
	bad := fmt.Errorf("syslog.address: %q: must be such as unix:///dev/log, udp://HOST:514, tcp://HOST:601 or tls://HOST:6514", s.Address)
	u, err := url.Parse(s.Address)
	if err != nil || u.RawQuery != "" || u.User != nil {
		return "", "", bad
	}
	port, known := syslogSchemes[u.Scheme]
	switch {
	case !known:
		return "", "", bad
	case u.Scheme == "unix" && (u.Host != "" || u.Path == ""), u.Scheme != "unix" && (u.Hostname() == "" || strings.Trim(u.Path, "/") != ""):
		return "", "", bad
	case u.Scheme == "unix":
		return u.Scheme, u.Path, nil
	}
	return u.Scheme, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)), nil
}

// SyslogFromFile reports whether the lines of the file are sent to the server, which
// then misses nothing while it cannot be reached, instead of events from memory. By
// UDP nobody would know what arrived.
func (s *Settings) SyslogFromFile() bool {
	scheme, _, err := s.Syslog.split()
	return err == nil && s.spools() && isStream(scheme)
}

func isStream(scheme string) bool { return scheme == "tcp" || scheme == "tls" }

// OpenSyslog begins to send events to the server of s.Syslog, each a message of
// RFC 5424 with the event in s.Syslog.Format. It is no error if the server cannot be
// reached: events wait for it, as many as s.Queue has room for. By UDP nobody learns
// whether they arrive, and by TCP those that were under way when a connection breaks
// are lost. s must have passed Check. Close must be called.
func OpenSyslog(s Settings, log hclog.Logger) (*Queue, error) {
	d, err := newSyslog(&s, log)
	if err != nil {
		return nil, err
	}
	wanted, err := matching(s.Syslog.Types)
	if err != nil {
		return nil, fmt.Errorf("syslog.types: %w", err)
	}
	return startQueue("syslog", s.Syslog.Address, wanted, &s, translator{d, d.message}, log), nil
}

// ForwardToSyslog begins to send the lines of the file to the server of s.Syslog, from
// the first one that it has not taken. s must be those of Open, and s.SyslogFromFile
// be true. Close ends it.
func (f *File) ForwardToSyslog(s Settings, log hclog.Logger) (*Forwarder, error) {
	d, err := newSyslog(&s, log)
	if err != nil {
		return nil, err
	}
	return f.forward(&s, "syslog", s.Syslog.Address, s.Syslog.Types, syslogBatch, syslogReceiver{d}, log)
}

func newSyslog(s *Settings, log hclog.Logger) (*syslogServer, error) {
	scheme, address, err := s.Syslog.split()
	if err != nil {
		return nil, err
	}
	host := cmp.Or(s.Node, "-")
	if name, err := os.Hostname(); err == nil && s.Node == "" {
		host = name
	}
	format, err := format.New(s.Syslog.Format, s.Version)
	if err != nil {
		return nil, fmt.Errorf("syslog.%w", err)
	}
	d := &syslogServer{
		format: format,
		scheme: scheme, address: address, log: log,
		facility: facilities[s.Syslog.Facility] * 8,
		source:   fmt.Sprintf("%s berth %d", printableHost(host), os.Getpid()),
	}
	if scheme == "tls" {
		if d.tls, err = privatefile.ClientTLS(s.Syslog.CAFile); err != nil {
			return nil, fmt.Errorf("syslog.%w", err)
		}
	}
	return d, nil
}

// message returns a line as a message: RFC 5424, section 6.
func (d *syslogServer) message(line []byte) []byte {
	severity := severities[event.Outcome(member(line, "outcome"))]
	header := fmt.Appendf(nil, "<%d>1 %s %s %s - ", d.facility+severity, cmp.Or(member(line, "time"), "-"), d.source, member(line, "type"))
	return append(header, d.format(line)...)
}

// syslogBatch is how many lines are sent before it is known that they arrived.
const syslogBatch = 1000

// A syslogReceiver sends lines of the events file.
type syslogReceiver struct{ *syslogServer }

func (r syslogReceiver) send(ctx context.Context, lines []entry) error {
	var text []byte
	for _, e := range lines {
		text = append(append(text, r.message(e.line)...), '\n')
	}
	if _, err := r.write(text); err != nil {
		return err
	}
	err := r.arrived(ctx)
	if err != nil {
		r.close()
	}
	return err
}

// arrived waits until the other machine has confirmed all that was written: syslog has
// no answer of its own.
func (d *syslogServer) arrived(ctx context.Context) error {
	nc := d.nc
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(syslogWrite); ; {
		var left int
		var asked error
		if err := raw.Control(func(fd uintptr) { left, asked = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil || asked != nil {
			return errors.Join(err, asked)
		}
		switch {
		case left == 0 && d.ended():
			return errors.New("the server has ended the connection")
		case left == 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("the server has not confirmed %d bytes", left)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(syslogLook):
		}
	}
}

// printableHost is s as a header takes it: visible characters of ASCII, 255 at most.
func printableHost(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return cmp.Or(s[:min(len(s), 255)], "-")
}

const (
	syslogDial  = 5 * time.Second
	syslogWrite = 10 * time.Second // for all waiting lines
	syslogLook  = 5 * time.Millisecond
)

// A syslogServer is a destination that connects when there is something to
// send.
type syslogServer struct {
	scheme, address string
	tls             *tls.Config
	facility        int    // times eight
	source          string // host and program of the header
	format          format.Formatter
	log             hclog.Logger
	nc              net.Conn // nil while there is none
}

func (d *syslogServer) write(lines []byte) ([]byte, error) {
	if err := d.connect(); err != nil {
		return lines, err
	}
	d.nc.SetWriteDeadline(time.Now().Add(syslogWrite))
	send := d.packets
	if isStream(d.scheme) {
		send = d.stream
	}
	rest, err := send(lines)
	if err != nil {
		d.close()
	}
	return rest, err
}

func (d *syslogServer) connect() (err error) {
	if d.nc != nil && !d.ended() {
		return nil
	}
	d.close()
	ctx, cancel := context.WithTimeout(context.Background(), syslogDial)
	defer cancel()
	dialer := &net.Dialer{}
	switch d.scheme {
	case "unix":
		d.nc, err = dialer.DialContext(ctx, "unixgram", d.address)
	case "tls":
		d.nc, err = (&tls.Dialer{NetDialer: dialer, Config: d.tls}).DialContext(ctx, "tcp", d.address)
	default:
		d.nc, err = dialer.DialContext(ctx, d.scheme, d.address)
	}
	return err
}

// ended reports whether the server has ended the connection. A write to a stream
// that nobody reads any more succeeds at first. Servers send nothing that
// matters, so a read that ends shows that the connection has ended.
func (d *syslogServer) ended() bool {
	if !isStream(d.scheme) {
		return false
	}
	d.nc.SetReadDeadline(time.Now().Add(syslogLook))
	_, err := io.Copy(io.Discard, d.nc)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// stream sends lines with octet counting: RFC 6587, section 3.4.1, and RFC 5425,
// section 4.3. When it fails all of them are sent again: an event that arrives
// twice is better than a lost one.
func (d *syslogServer) stream(lines []byte) ([]byte, error) {
	framed := make([]byte, 0, len(lines)+len(lines)/16)
	for line := range bytes.Lines(lines) {
		framed = fmt.Appendf(framed, "%d %s", len(line)-1, line[:len(line)-1])
	}
	if _, err := d.nc.Write(framed); err != nil {
		return lines, err
	}
	return nil, nil
}

// packets sends a datagram a line. A line that does not fit into one is lost, and
// the log has an error.
func (d *syslogServer) packets(lines []byte) ([]byte, error) {
	for len(lines) > 0 {
		line, rest, _ := bytes.Cut(lines, []byte{'\n'})
		_, err := d.nc.Write(line)
		if errors.Is(err, syscall.EMSGSIZE) {
			d.log.Error("send an event: too long for a datagram: use tcp:// or tls://", "to", d.address, "bytes", len(line))
		} else if err != nil {
			return lines, err
		}
		lines = rest
	}
	return nil, nil
}

func (d *syslogServer) close() error {
	if d.nc == nil {
		return nil
	}
	err := d.nc.Close()
	d.nc = nil
	return err
}
