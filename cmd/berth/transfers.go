package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/term"

	"berth/policy"
	"berth/sshd/admin"
	"berth/sshd/login"
)

// watchSessions prints the transfers of the server every second until ctx ends. On a
// terminal each picture takes the place of the one before.
func watchSessions(ctx context.Context, out io.Writer, server *admin.Client) error {
	var before map[transferID]admin.Transfer
	for last := time.Now(); ; {
		sessions, err := sessionsOf(ctx, server, "")
		if ctx.Err() != nil {
			return nil
		} else if err != nil && sessions == nil {
			return err
		}
		now := time.Now()
		text := drawTransfers(sessions, before, now.Sub(last), now)
		if err != nil { // there may be more
			text += fmt.Sprintf("warning: %v\n", err)
		}
		if isTerminal(out) {
			text = home + strings.ReplaceAll(text, "\n", clearLine+"\r\n") + clearRest
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
		before, last = transfersOf(sessions), now
		if !sleep(ctx, time.Second) {
			return nil
		}
	}
}

// isTerminal reports whether a person reads out as it is written.
func isTerminal(out io.Writer) bool {
	f, ok := out.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// A progressLine is a line about long work, which is shown on a terminal only.
type progressLine struct {
	out  io.Writer
	next time.Time // when the line may change again
}

func (p *progressLine) show(format string, args ...any) {
	if now := time.Now(); isTerminal(p.out) && now.After(p.next) {
		fmt.Fprintf(p.out, "\r"+format+clearLine, args...)
		p.next = now.Add(time.Second / 10)
	}
}

// ofFile shows how much of a file has been read.
func (p *progressLine) ofFile(file string, read, size int64) {
	p.show("%s: %d %%", file, 100*read/max(size, 1))
}

// clear removes the line.
func (p *progressLine) clear() {
	if !p.next.IsZero() {
		fmt.Fprint(p.out, "\r"+clearLine)
		p.next = time.Time{}
	}
}

// What a terminal understands (ECMA-48).
const (
	home      = "\x1b[H"
	clearLine = "\x1b[K" // from here on
	clearRest = "\x1b[J" // of the screen
)

// A transferID tells transfers apart.
type transferID struct {
	session, path string
	since         time.Time
}

func transfersOf(sessions []admin.Session) map[transferID]admin.Transfer {
	all := map[transferID]admin.Transfer{}
	for _, s := range sessions {
		for _, t := range s.Transfers {
			all[transferID{s.ID, t.Path, t.Since}] = t
		}
	}
	return all
}

// drawTransfers is a line for each session and one for each of its transfers. before
// is what they were a time of elapsed ago.
func drawTransfers(sessions []admin.Session, before map[transferID]admin.Transfer, elapsed time.Duration, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s, %s open\n", now.Local().Format("15:04:05"), plural(len(sessions), "session", "sessions"), plural(len(transfersOf(sessions)), "file", "files"))
	for _, s := range sessions {
		fmt.Fprintf(&b, "%s  %s from %s, idle %v\n", s.ID, login.Printable(s.User), s.Remote.Addr(), s.Idle.Round(time.Second))
		for _, t := range s.Transfers {
			past, span := before[transferID{s.ID, t.Path, t.Since}], elapsed
			if past.Since.IsZero() { // it is new
				span = now.Sub(t.Since)
			}
			rate := 0.0
			if span > 0 {
				rate = float64(t.Bytes-past.Bytes) / span.Seconds()
			}
			fmt.Fprintf(&b, "  %s %s %s/s%s  %s\n", bar(t), mebibytes(t.Bytes), mebibytes(int64(rate)), timeLeft(t, rate), policy.Quote(t.Path))
		}
	}
	return b.String()
}

const barWidth = 20

// bar shows how much of t is done, or the mode if the size is not known.
func bar(t admin.Transfer) string {
	if t.Size <= 0 {
		return fmt.Sprintf("[%-*.*s]     ", barWidth, barWidth, t.Mode)
	}
	done := min(1, float64(t.Position)/float64(t.Size))
	full := int(done * barWidth)
	return fmt.Sprintf("[%s%s] %3d%%", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), int(done*100))
}

func timeLeft(t admin.Transfer, rate float64) string {
	if left := t.Size - t.Position; left > 0 && rate >= 1 {
		return ", " + (time.Duration(float64(left)/rate) * time.Second).String() + " left"
	}
	return ""
}
