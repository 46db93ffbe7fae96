package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"berth/config"
	"berth/sshd/admin"
	"berth/sshd/event"
)

// A logLevel is the level of the log, which an operator can change for some time.
type logLevel struct {
	log    hclog.Logger // the root of all
	normal hclog.Level

	mu   sync.Mutex
	back *time.Timer // of the level that was set last; nil: it stays
}

func newLogLevel(log hclog.Logger) *logLevel { return &logLevel{log: log, normal: log.GetLevel()} }

// set changes the level of the log, for d, or if d is 0 until the server
// ends.
func (l *logLevel) set(level string, d time.Duration) error {
	if err := errors.Join(config.Log{Level: level, Format: "text"}.Check()...); err != nil {
		return err
	}
	if d < 0 {
		return fmt.Errorf("%v: must be a positive time, such as 10m", d)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.back != nil {
		l.back.Stop()
		l.back = nil // it may end in this moment
	}
	l.log.SetLevel(hclog.LevelFromString(level))
	if d == 0 {
		l.normal = l.log.GetLevel()
		return nil
	}
	var back *time.Timer
	back = time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.back == back {
			l.log.SetLevel(l.normal)
		}
	})
	l.back = back
	return nil
}

func (o operator) LogLevel(by admin.Caller, level string, d time.Duration) error {
	if err := o.level.set(level, d); err != nil {
		return err
	}
	e := event.Event{Type: event.LogLevelSet, Fields: by.Fields()}
	e.Fields["level"] = level
	if d > 0 {
		e.Fields["for"] = d.String()
	}
	o.sink.Emit(e)
	return nil
}

// statusWait is how long the directories of a status may take to answer.
const statusWait = 3 * time.Second

// Status asks everything that can be asked quickly.
func (o operator) Status() admin.Status {
	ctx, cancel := context.WithTimeout(o.serving, statusWait)
	defer cancel()
	s := admin.Status{
		Release: release, PID: os.Getpid(), Started: o.started, Config: o.reloader.started.Path, RulesHash: o.reloader.rules.Hash(),
		Reloaded: o.reloader.last.Load(), LogLevel: o.level.log.GetLevel().String(),
		ConfinedTo: o.reloader.confined.writable(),
	}
	for _, l := range o.upgrader.listeners {
		s.Listening = append(s.Listening, l.Addr().String())
	}
	err := o.ready(ctx)
	if _, degraded := errors.AsType[admin.Degraded](err); degraded {
		s.Degraded = err.Error()
	} else if err != nil {
		s.NotReady = err.Error()
	}
	s.Directories = make([]admin.DirectoryStatus, len(o.reloader.people.clients))
	var asked sync.WaitGroup
	for i, c := range o.reloader.people.clients {
		s.Directories[i].Name = c.Settings().Name
		asked.Go(func() {
			if err := c.Ping(ctx); err != nil {
				s.Directories[i].Error = err.Error()
			}
		})
	}
	asked.Wait()
	for _, c := range o.certificates() {
		s.Certificates = append(s.Certificates, admin.CertificateStatus{Use: c.Use, Name: c.Name, Ends: c.End})
	}
	s.Logins, s.Sessions, s.Penalized = o.store.Counts()
	if s.Nodes, err = o.store.health(); err != nil {
		s.NodesError = err.Error()
	}
	for _, way := range o.ways {
		h := way.Health()
		if h.To == "" {
			continue // events go nowhere
		}
		e := admin.EventsStatus{To: h.To, Dropped: h.Dropped, LeftOut: h.LeftOut, Refused: h.Refused, Waiting: h.Waiting, Oldest: h.Oldest}
		if h.Err != nil {
			e.Error = h.Err.Error()
		}
		s.Events = append(s.Events, e)
	}
	return s
}

func statusCommand() *cobra.Command {
	var asJSON bool
	var node string
	cmd := operatorCommand("status", "Show the state of the running server",
		`Status asks the running server, through admin.socket of the configuration, since
when it runs, whether it is ready, whether each directory answers, when certificates
end, how many sessions are open, how the last reload ended, and whether events are
written. It fails if the server is not ready. Several nodes that share their state have
a line each.`, cobra.NoArgs, func(cmd *cobra.Command, server *admin.Client, _ []string) error {
			show := func(s admin.Status) (err error) {
				if asJSON {
					err = printJSON(cmd.OutOrStdout(), s)
				} else {
					err = printStatus(cmd.OutOrStdout(), s, time.Now())
				}
				if err == nil && s.NotReady != "" {
					return errReported
				}
				return err
			}
			if node != "" {
				return statusOf(cmd, server, node, show)
			}
			s, err := server.Status(cmd.Context())
			if err != nil {
				return err
			}
			err = show(s)
			if s.Nodes > 1 && !asJSON {
				if missing := printOthers(cmd, server, s); missing != nil {
					return missing
				}
			}
			return err
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	cmd.Flags().StringVar(&node, "node", "", "state of the `node` with this name, or of all, one after the other")
	return cmd
}

// printStatus prints s for people.
func printStatus(out io.Writer, s admin.Status, now time.Time) error {
	const clock = "2006-01-02 15:04:05"
	t := newTable(out)
	line := func(name, format string, a ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, a...)) }
	line("server", "berth %s, process %d, since %s (%v)", s.Release, s.PID, s.Started.Local().Format(clock), now.Sub(s.Started).Round(time.Second))
	line("ready", "%s", readyText(s))
	line("listening", "%s", strings.Join(s.Listening, ", "))
	line("configuration", "%s, rules %s", s.Config, s.RulesHash)
	if r := s.Reloaded; r != nil {
		outcome := "applied"
		if r.Error != "" {
			outcome = "FAILED: " + r.Error
		} else if r.Waits != "" {
			outcome += "; " + r.Waits
		}
		line("last reload", "%s, %s", r.At.Local().Format(clock), outcome)
	}
	for _, d := range s.Directories {
		line("directory "+d.Name, "%s", answerOf(d.Error, "answers", "DOES NOT ANSWER: "))
	}
	for _, c := range s.Certificates {
		line("certificate of "+c.Name, "%s", endOf(c.Ends, now))
	}
	if s.Nodes > 0 {
		line("nodes", "%s", answerOf(s.NodesError, fmt.Sprintf("%d, this one included", s.Nodes), fmt.Sprintf("%d when they were last counted; CANNOT BE ASKED: ", s.Nodes)))
	}
	line("sessions", "%d, and %s under way", s.Sessions, plural(s.Logins, "login", "logins"))
	line("penalties", "against %s", plural(s.Penalized, "source", "sources"))
	for _, e := range s.Events {
		text := answerOf(e.Error, "written", "NOT WRITTEN: ")
		if !e.Oldest.IsZero() {
			text += fmt.Sprintf("; %s waiting, the oldest since %s", plural(int(e.Waiting), "event", "events"), e.Oldest.Local().Format(clock))
		}
		if e.Dropped > 0 {
			text += fmt.Sprintf("; %d LOST since the start", e.Dropped)
		}
		if e.LeftOut > 0 {
			text += fmt.Sprintf("; %d left out by events.rate", e.LeftOut)
		}
		if e.Refused > 0 {
			text += fmt.Sprintf("; %d REFUSED by the receiver and set aside", e.Refused)
		}
		line("events to "+e.To, "%s", text)
	}
	if len(s.ConfinedTo) > 0 {
		line("landlock", "writes only below %s", strings.Join(s.ConfinedTo, ", "))
	} else {
		line("landlock", "off")
	}
	line("log level", "%s", s.LogLevel)
	return t.Flush()
}

func readyText(s admin.Status) string {
	switch {
	case s.NotReady != "":
		return "NO: " + s.NotReady
	case s.Degraded != "":
		return "yes, but " + s.Degraded
	}
	return "yes"
}

// certificateSoon is when the alert BerthCertificateEnds begins.
const certificateSoon = 14 * 24 * time.Hour

func endOf(ends, now time.Time) string {
	day, left := ends.Local().Format(time.DateOnly), ends.Sub(now)
	switch {
	case left <= 0:
		return "HAS ENDED on " + day
	case left < certificateSoon:
		return fmt.Sprintf("ENDS on %s, in %s", day, plural(int(left.Hours()/24), "day", "days"))
	}
	return "valid until " + day
}

func answerOf(err, good, bad string) string {
	if err == "" {
		return good
	}
	return bad + err
}

func logLevelCommand() *cobra.Command {
	return nodesCommand("log-level LEVEL [for TIME]", "Change the log level of the running server",
		`Log-level changes what the running server logs to standard error. After
"berth log-level debug for 10m" the level is as before when ten minutes are over.
Without a time, the new level remains until the next restart, which uses log.level
of the configuration. Levels are trace, debug, info, warn and error. At debug the log
has a line for every decision about a login, at trace one for every SFTP request.`, cobra.RangeArgs(1, 3), admin.DoLogLevel, func(cmd *cobra.Command, server *admin.Client, args []string) error {
			level, d, err := parseLevel(args)
			if err != nil {
				return err
			}
			if err := server.LogLevel(cmd.Context(), level, d); err != nil {
				return err
			}
			until := "until the next restart"
			if d > 0 {
				until = "for " + d.String()
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the log has the level %s %s\n", level, until)
			return err
		})
}

// parseLevel reads a level and perhaps a time.
func parseLevel(args []string) (level string, d time.Duration, err error) {
	if len(args) == 1 {
		return args[0], 0, nil
	}
	args = slices.DeleteFunc(args, func(s string) bool { return s == "for" })
	if len(args) != 2 {
		return "", 0, errors.New(`the arguments are a level and optionally a time, such as "debug for 10m"`)
	}
	if d, err = time.ParseDuration(args[1]); err != nil || d <= 0 {
		return "", 0, fmt.Errorf("%q: must be a time such as 10m", args[1])
	}
	return args[0], d, nil
}
