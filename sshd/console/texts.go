package console

import (
	"fmt"
	"html/template"
	"regexp"
)

// texts is what people read in the console. Templates and code have the keys only, so that a
// translation changes nothing but this table. The texts of events, logins, rules and reviews
// come from their own packages.
//
// %v is replaced by a value, and %q by one in quotes; a text that needs another order of them
// writes %[2]v for the second. Some texts have `commands` in backquotes, which become <code>.
var texts = map[string]string{
	"language": "en",

	// on every page
	"frame.node":   "on %v",
	"frame.pages":  "Pages",
	"frame.logout": "Log out",
	"frame.stale":  "What is shown here is old: there is no connection to the server, or your session has ended. Load the page again.",

	"login.name":       "Name",
	"login.password":   "Password",
	"login.code":       "One-time code, if you have one",
	"login.title":      "Log in",
	"login.no_address": "The address of your browser is not known.",
	"login.not_now":    "You may not log in now.",
	"login.refused":    "The login was refused.",
	"login.too_many":   "Too many sessions are open.",

	"error.go_on":             "Go on",
	"error.too_many_pages":    "Too many pages at once: close some windows.",
	"error.no_service":        "No rule that applies to you lists the service %v.",
	"error.bad_request":       "Bad Request",
	"error.forbidden":         "Forbidden",
	"error.not_found":         "Not Found",
	"error.too_many_requests": "Too Many Requests",
	"error.bad_gateway":       "Bad Gateway",
	"error.unavailable":       "Service Unavailable",
	"error.internal":          "Internal Server Error",

	// mistakes in forms
	"form.bad_address": "address %q: must be an IP address",
	"form.bad_time":    "time %q: must be such as %v, in UTC",
	"form.bad_method":  "method %q: must be one of %v",
	"form.bad_group":   "group %q: must be a name, or a whole DN: %v",
	"form.unreadable":  "The form cannot be read: %v",
	"form.forged":      "This form is not of your session. Go back, load the page again, and repeat it.",

	"confirm.yes": "Yes",
	"confirm.no":  "No",

	"kick.ended":    "This session has ended already.",
	"kick.title":    "End a session",
	"kick.question": "End the session of %v from %v? What is being uploaded is not put into place.",

	// what a node that was asked could not do
	"node.error": "node %v: %v",

	"drain.title":         "Drain",
	"drain.node":          "the node %v",
	"drain.this_server":   "this server",
	"drain.no_node":       "No node that answers is called %q.",
	"drain.last":          "No other node is ready: nobody will be able to log in.",
	"drain.question":      "Drain %v? It takes no new sessions, lets running transfers come to their end, and ends. It has %v sessions.",
	"drain.console_ends":  "The console ends with it.",
	"drain.server_drains": "The server is draining.",
	"drain.one_by_one":    "Nodes are drained one by one here.",
	"drain.node_drains":   "The node %v is draining.",
	"drain.drains":        "Draining",

	"now.title":       "Now",
	"now.person":      "Person",
	"now.find":        "Find",
	"now.minutes":     "The last %v minutes",
	"now.plot":        "%v, at most %v",
	"now.health":      "Health",
	"now.this_server": "this server",
	"now.not_ready":   "NO: %v",
	"now.degraded":    "yes, but %v",
	"now.ready":       "yes",
	"now.no_answer":   "%v: DOES NOT ANSWER: %v",
	"now.answers":     "%v: answers",
	"now.not_written": "%v: NOT WRITTEN: %v",
	"now.written":     "%v: written",
	"now.lost":        ", %v LOST",
	"now.no_events":   "not kept",
	"now.drain_node":  "Drain %v",
	"now.no_health":   "Not known yet.",
	"now.session":     "1 session",
	"now.sessions":    "%v sessions",
	"now.first":       "; the first %v are shown: search for a person",
	"now.open":        "Open sessions",
	"now.this_node":   "this one",
	"now.end":         "End",

	// the plots of Now
	"plot.throughput": "Throughput",
	"plot.read":       "read",
	"plot.written":    "written",
	"plot.logins":     "Logins",
	"plot.accepted":   "accepted",
	"plot.refused":    "refused",
	"plot.summary":    "%v in the last %v: now %v %v and %v %v, at most %v and %v",

	"people.title":            "People",
	"people.person":           "Person, or how the name begins",
	"people.from":             "From address",
	"people.method":           "Method",
	"people.at":               "At (UTC)",
	"people.group":            "What if also in group",
	"people.from_example":     "192.0.2.7",
	"people.explain":          "Explain",
	"people.begin":            "People whose names begin with “%v”",
	"people.more":             "There are more than %v on %v pages: type more letters.",
	"people.allowed":          "%v: the rules allow the login",
	"people.refused":          "%v: the rules refuse the login",
	"people.account":          "Account: %v",
	"people.until":            "Until %v (UTC).",
	"people.password_changed": "Password changed %v (UTC).",
	"people.password_expires": "Password expires %v (UTC).",
	"people.others":           "Others whose names begin like this",
	"people.picture":          "Person, groups, rules with their conditions, and folders; the tables below have the same",
	"people.hidden_rules":     "%v more rules are not drawn.",
	"people.hidden_groups":    "%v more groups are not drawn.",
	"people.refuses":          "(refuses)",
	"people.yes":              "yes",
	"people.no":               "no",
	"people.held":             "yes: %v %v",
	"people.not_held":         "no: %v %v",
	"people.everybody":        "for everybody",
	"people.rights":           "Rights",
	"people.groups":           "Groups",
	"people.keys":             "Keys",
	"people.sessions":         "Sessions",
	"people.last_events":      "Last events",
	"people.none":             "None.",
	"people.key_skipped":      "not used: %v",
	"people.not_known":        "not known",
	"people.never":            "never",
	"people.keys_from":        "When keys were added and used is from the last 4 MiB of events.",
	"people.no_events":        "None in the last 4 MiB of events.",
	"people.nobody":           "nobody is called %q, and no name begins with that",
	"people.supposed":         "supposed",

	// the drawing of People
	"picture.allowed":  "allowed by the rules",
	"picture.refused":  "refused: %v",
	"picture.contains": "contains %v",
	"picture.matches":  "%v matches",
	"picture.no_match": "%v does not match",
	"picture.refuses":  "%v matches and refuses",

	"folders.title":        "Folders",
	"folders.path":         "Folder, as people see it or on the server",
	"folders.path_example": "/finance",
	"folders.ask":          "Who can reach it?",
	"folders.bad_path":     "folder %q: must begin with /",
	"folders.uses_missing": "last logins and uses may be missing: %v",
	"folders.no_nesting":   "how groups contain each other, and their owners, could not be read: %v",
	"folders.no_report":    "There is no such report, or it is no longer kept.",

	"events.title":         "Events",
	"events.person":        "Person",
	"events.path":          "Path",
	"events.types":         "Types",
	"events.address":       "Address",
	"events.session":       "Session",
	"events.outcome":       "Outcome",
	"events.types_example": "login_*,removed",
	"events.any":           "all",
	"events.search":        "Search",
	"events.json":          "JSON",
	"events.one":           "1 event",
	"events.many":          "%v events, the newest first",
	"events.more":          "; older ones are not shown",
	"events.tail":          "This page shows what is in the last 4 MiB of events: `berth events search` reads all.",
	"events.no_file":       "events are not kept in a file on this server",

	"rules.title":        "Rules",
	"rules.file":         "The rules of %v",
	"rules.not_in_force": "The file has changed: these rules are not in force before a reload.",
	"rules.no_section":   "The section cannot be shown: it must begin with the line `rules:`, apart from other sections, which may hold passwords.",
	"rules.try":          "Try other rules",
	"rules.section":      "The section `rules` as it may become; other sections are ignored",
	"rules.ask":          "Whom would they change?",
	"rules.new":          "new rules",

	// an answer about all people
	"result.pages":       "Pages of the result",
	"result.back":        "Back",
	"result.page":        "Page %v of %v",
	"result.next":        "Next",
	"result.asked":       "Asked by %v at %v (UTC).",
	"result.events_read": "Events read so far: %v.",
	"result.looked":      "People looked at so far: %v.",
	"result.again":       "Look again",
	"result.whole":       "The whole report:",
	"result.print":       "to print",
	"result.csv":         "CSV",
	"result.json":        "JSON",
	"result.command":     "`berth report access` reads all events, and signs the report.",
	"result.gone_ask":    "This result is no longer kept: ask again.",
	"result.busy":        "another question about all people is being answered: try again when it has ended",
	"result.panic":       "the server made a mistake: its log has more",
	"result.gone":        "This result is no longer kept.",

	// the answer of Folders
	"review.made":     "Made %v (UTC), people looked at: %v, hash of the rules: %v.",
	"review.uses":     "Last logins and uses are from the newest events, since %v (UTC).",
	"review.no_uses":  "Last logins and uses are not known: no events were read.",
	"review.together": "Forbidden together: %v (%v) is in %v: %v",
	"review.people":   "People and their rights",
	"review.none":     "none",
	"review.nobody":   "Nobody.",

	// the answer of Rules
	"diff.title":         "Whom the new rules change",
	"diff.missing":       "NOT COMPLETE: people are missing: %v",
	"diff.full":          "NOT COMPLETE: access changes for more people than are shown.",
	"diff.total":         "Access changes for %v of %v people. Nothing was installed.",
	"diff.total_or_more": "Access changes for %v or more of %v people. Nothing was installed.",
	"diff.changes":       "Changes",
	"diff.only":          "not always; for example %v",
	"diff.always":        "at every login",

	// names of columns
	"column.node":        "Node",
	"column.ready":       "Ready",
	"column.directories": "Directories",
	"column.sessions":    "Sessions",
	"column.events":      "Events",
	"column.since":       "Since (UTC)",
	"column.rules":       "Rules",
	"column.action":      "Action",
	"column.person":      "Person",
	"column.from":        "From",
	"column.login":       "Login",
	"column.services":    "Services",
	"column.read":        "Read",
	"column.written":     "Written",
	"column.transfers":   "Transfers",
	"column.why":         "Why",
	"column.login_name":  "Login name",
	"column.name":        "Name",
	"column.directory":   "Directory",
	"column.dn":          "DN",
	"column.rule":        "Rule",
	"column.matches":     "Matches",
	"column.conditions":  "Conditions",
	"column.path":        "Path",
	"column.permissions": "Permissions",
	"column.group":       "Group",
	"column.how":         "How",
	"column.fingerprint": "Fingerprint",
	"column.type":        "Type",
	"column.remark":      "Remark",
	"column.added":       "Added (UTC)",
	"column.last_login":  "Last login (UTC)",
	"column.expires":     "Expires (UTC)",
	"column.time":        "Time (UTC)",
	"column.outcome":     "Outcome",
	"column.session":     "Session",
	"column.all":         "All",
	"column.account":     "Account",
	"column.rights":      "Rights",
	"column.last_use":    "Last use (UTC)",
	"column.change":      "Change",
	"column.when":        "When",
}

// say returns the text of a key, with values in it.
func say(key string, values ...any) string {
	if len(values) == 0 {
		return texts[key]
	}
	return fmt.Sprintf(texts[key], values...)
}

var backquoted = regexp.MustCompile("`([^`]*)`")

// sayHTML is say for a text with elements: what is in backquotes, and values that are HTML,
// such as those of clock. Everything else is escaped.
func sayHTML(key string, values ...any) template.HTML {
	escaped := make([]any, len(values))
	for i, v := range values {
		if html, ok := v.(template.HTML); ok {
			escaped[i] = html
		} else {
			escaped[i] = template.HTMLEscaper(v)
		}
	}
	text := backquoted.ReplaceAllString(template.HTMLEscapeString(texts[key]), "<code>$1</code>")
	return template.HTML(fmt.Sprintf(text, escaped...))
}
