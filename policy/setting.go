package policy

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A setting is a single value: the first matching rule that sets it gives it.
type setting struct {
	key      string
	set      func(r *Rule) bool
	apply    func(p *Policy, r *Rule)
	show     func(p *Policy) string
	negative func(r *Rule) string // what a limit below 0 is; empty if it is none

	attribute  func(r *Rule) string         // of the user, which holds the value; nil: none can
	read       func(p *Policy, value int64) // sets the value of the attribute
	hasDefault func(r *Rule) bool           // the rule has a value for users without the attribute
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
	limit("sessions", func(q *Quantity) **int { return &q.Sessions }, func(l *Limits) *int { return &l.Sessions }, strconv.Itoa),
	personal("quota", func(q *Quantity) *Amount { return q.Quota }, func(l *Limits) *int64 { return &l.Quota }, FormatSize),
	personal("quota_files", func(q *Quantity) *Amount { return q.QuotaFiles }, func(l *Limits) *int64 { return &l.QuotaFiles }, count),
	personal("max_file", func(q *Quantity) *Amount { return q.MaxFile }, func(l *Limits) *int64 { return &l.MaxFile }, FormatSize),
	personal("upload_rate", func(q *Quantity) *Amount { return q.UploadRate }, func(l *Limits) *int64 { return &l.UploadRate }, rate),
	personal("download_rate", func(q *Quantity) *Amount { return q.DownloadRate }, func(l *Limits) *int64 { return &l.DownloadRate }, rate),
	limit("idle", func(q *Quantity) **time.Duration { return &q.Idle }, func(l *Limits) *time.Duration { return &l.Idle }, time.Duration.String),
	limit("session_time", func(q *Quantity) **time.Duration { return &q.SessionTime }, func(l *Limits) *time.Duration { return &l.SessionTime }, time.Duration.String),
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

// limit makes the setting of one limit.
func limit[T int | int64 | time.Duration](key string, in func(*Quantity) **T, out func(*Limits) *T, show func(T) string) setting {
	return setting{
		key:   "limits." + key,
		set:   func(r *Rule) bool { return *in(&r.Limits) != nil },
		apply: func(p *Policy, r *Rule) { *out(&p.Limits) = **in(&r.Limits) },
		show: func(p *Policy) string {
			if n := *out(&p.Limits); n != 0 {
				return show(n)
			}
			return "none"
		},
		negative: func(r *Rule) string {
			if n := *in(&r.Limits); n != nil && *n < 0 {
				return fmt.Sprint(*n)
			}
			return ""
		},
	}
}

// personal makes the setting of a limit that an attribute of the user may hold.
func personal(key string, in func(*Quantity) *Amount, out func(*Limits) *int64, show func(int64) string) setting {
	amount := func(q *Quantity) Amount { return *cmp.Or(in(q), new(Amount)) }
	s := limit(key, func(q *Quantity) **int64 { return new(amount(q).Number) }, out, show)
	s.set = func(r *Rule) bool { return in(&r.Limits) != nil }
	s.attribute = func(r *Rule) string { return amount(&r.Limits).Attribute }
	s.read = func(p *Policy, value int64) { *out(&p.Limits) = value }
	s.apply = func(p *Policy, r *Rule) {
		if n := amount(&r.Limits).Number; n != nil {
			*out(&p.Limits) = *n
		}
	}
	s.hasDefault = func(r *Rule) bool { return amount(&r.Limits).Number != nil }
	return s
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

func rate(n int64) string { return FormatSize(n) + " a second" }
