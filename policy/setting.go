package policy

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/directory"
)

// A setting is a single value. The first matching rule that sets it decides.
type setting struct {
	key      string
	set      func(r *Rule) bool
	apply    func(p *Policy, r *Rule)
	show     func(p *Policy) string
	negative func(r *Rule) string // what a limit below 0 is; empty if it is none

	attribute func(r *Rule) string // of the user, which holds the value; empty: there is none; nil: none can

	// read replaces the value of a rule by the one in the attribute of the user. If that is
	// missing or wrong, the value of the rule stays. Without one the user is refused: nobody
	// gets more than was meant.
	read func(p *Policy, r *Rule, u *directory.User) (note string, err error)
}

// settings are the single values of rules.
var settings = []setting{
	{
		key:   "services",
		set:   func(r *Rule) bool { return r.Services != nil },
		apply: func(p *Policy, r *Rule) { p.Services = r.Services },
		show:  func(p *Policy) string { return strings.Join(p.Services, ", ") },
	},
	{
		key:   "require",
		set:   func(r *Rule) bool { return r.Require != nil },
		apply: func(p *Policy, r *Rule) { p.Require = r.Require },
		show: func(p *Policy) string { // "publickey and password, or …"
			var all []string
			for _, methods := range p.Require {
				all = append(all, strings.Join(methods, " and "))
			}
			return cmp.Or(strings.Join(all, ", or "), "any method")
		},
	},
	limit("sessions", func(q *Quantity) *Amount[int] { return q.Sessions }, func(l *Limits) *int { return &l.Sessions }, strconv.Itoa),
	limit("quota", func(q *Quantity) *Amount[int64] { return q.Quota }, func(l *Limits) *int64 { return &l.Quota }, FormatSize),
	limit("quota_files", func(q *Quantity) *Amount[int64] { return q.QuotaFiles }, func(l *Limits) *int64 { return &l.QuotaFiles }, count),
	limit("max_file", func(q *Quantity) *Amount[int64] { return q.MaxFile }, func(l *Limits) *int64 { return &l.MaxFile }, FormatSize),
	limit("upload_rate", func(q *Quantity) *Amount[int64] { return q.UploadRate }, func(l *Limits) *int64 { return &l.UploadRate }, rate),
	limit("download_rate", func(q *Quantity) *Amount[int64] { return q.DownloadRate }, func(l *Limits) *int64 { return &l.DownloadRate }, rate),
	limit("idle", func(q *Quantity) *Amount[time.Duration] { return q.Idle }, func(l *Limits) *time.Duration { return &l.Idle }, time.Duration.String),
	limit("session_time", func(q *Quantity) *Amount[time.Duration] { return q.SessionTime }, func(l *Limits) *time.Duration { return &l.SessionTime }, time.Duration.String),
	{
		key:   "uploads",
		set:   func(r *Rule) bool { return r.Uploads != "" },
		apply: func(p *Policy, r *Rule) { p.Uploads = r.Uploads },
		show:  func(p *Policy) string { return string(p.Uploads) },
	},
	{
		key:   "owner",
		set:   func(r *Rule) bool { return r.Owner != "" },
		apply: func(p *Policy, r *Rule) { p.Owner = r.Owner },
		show:  func(p *Policy) string { return string(p.Owner) },
	},
	{
		key:   "setattr",
		set:   func(r *Rule) bool { return r.SetAttr != "" },
		apply: func(p *Policy, r *Rule) { p.IgnoreSetAttr = r.SetAttr == Ignore },
		show: func(p *Policy) string {
			if p.IgnoreSetAttr {
				return string(Ignore)
			}
			return string(Refuse)
		},
	},
}

// limit makes the setting of one limit, which an attribute of the user may hold.
func limit[T Measure](key string, in func(*Quantity) *Amount[T], out func(*Limits) *T, show func(T) string) setting {
	amount := func(r *Rule) Amount[T] { return *cmp.Or(in(&r.Limits), new(Amount[T])) }
	return setting{
		key: "limits." + key,
		set: func(r *Rule) bool { return in(&r.Limits) != nil },
		apply: func(p *Policy, r *Rule) {
			if v := amount(r).Value; v != nil {
				*out(&p.Limits) = *v
			}
		},
		show: func(p *Policy) string {
			if v := *out(&p.Limits); v != 0 {
				return show(v)
			}
			return "none"
		},
		negative: func(r *Rule) string {
			if v := amount(r).Value; v != nil && *v < 0 {
				return fmt.Sprint(*v)
			}
			return ""
		},
		attribute: func(r *Rule) string { return amount(r).Attribute },
		read: func(p *Policy, r *Rule, u *directory.User) (note string, err error) {
			a := amount(r)
			if a.Attribute == "" {
				return "", nil
			}
			v, err := limitOf[T](u, a.Attribute)
			switch {
			case err == nil:
				*out(&p.Limits) = v
				return "from " + a.Attribute, nil
			case a.Value != nil:
				return err.Error() + "; the limit of the rule applies", nil
			}
			return "", err
		},
	}
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

func rate(n int64) string { return FormatSize(n) + " a second" }
