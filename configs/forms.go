package configs

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A form checks a string and puts it into its usual shape. arg is what
// follows the colon in the check tag. The problem is "" when all is well.
type form func(arg, word string) (usual, problem string)

// forms are the words of the check tag; file and path, which need to know
// where the configuration lies, are added in source.form.
var forms = map[string]form{
	"fqdn":     fqdn,
	"dnsname":  dnsName,
	"name":     matches(regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`), "must be letters, digits, - and _, at most 63"),
	"slash":    matches(regexp.MustCompile(`^/[a-z0-9_-]{1,31}$`), "must be a slash and lower case letters, digits, - and _"),
	"env":      matches(regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`), "must be the name of an environment variable, not its value"),
	"hostport": hostPort,
	"url":      baseURL,
	"witness":  witnessURL,
	"slack":    slackID,
	"window":   window,
}

// window is a time of day from … to.
func window(_, word string) (string, string) {
	if _, _, ok := Window(word); !ok {
		return word, `must be two different times of day like "02:00-04:30"`
	}
	return word, ""
}

// Window reads a window of times of day, as durations since midnight; over
// midnight when to is less than from.
func Window(word string) (from, to time.Duration, ok bool) {
	first, last, _ := strings.Cut(word, "-")
	begin, err1 := time.Parse("15:04", strings.TrimSpace(first))
	end, err2 := time.Parse("15:04", strings.TrimSpace(last))
	midnight := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	return begin.Sub(midnight), end.Sub(midnight), err1 == nil && err2 == nil && !begin.Equal(end)
}

func matches(re *regexp.Regexp, problem string) form {
	return func(_, word string) (string, string) {
		if !re.MatchString(word) {
			return word, problem
		}
		return word, ""
	}
}

var label = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)

func fqdn(_, word string) (string, string) {
	usual, problem := dnsName("", word)
	if problem == "" && !strings.Contains(usual, ".") {
		return word, "must be a full name, with its domain"
	}
	return usual, problem
}

// dnsName is a name that may be a single label, as those of keys are.
func dnsName(_, word string) (string, string) {
	usual := strings.TrimSuffix(strings.ToLower(word), ".")
	if len(usual) > 253 {
		return word, "is longer than a DNS name can be"
	}
	for part := range strings.SplitSeq(usual, ".") {
		if !label.MatchString(part) {
			return word, "is not a DNS name (names that are not ASCII are written as xn--…)"
		}
	}
	if _, err := strconv.Atoi(usual[strings.LastIndex(usual, ".")+1:]); err == nil {
		return word, "is an address where a name is wanted"
	}
	return usual, ""
}

func hostPort(_, word string) (string, string) {
	const problem = "must be host:port, like fe1.contoso.local:5986 or [2001:db8::1]:5986"
	_, port, err := net.SplitHostPort(word)
	if err != nil {
		return word, problem
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return word, problem
	}
	return word, ""
}

func baseURL(_, word string) (string, string) {
	u, err := url.Parse(word)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return word, "must be an http or https URL"
	case u.User != nil:
		return word, "must not carry a user or password"
	case !strings.HasSuffix(u.Path, "/"):
		return word, "must end in a slash"
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return word, "must be https: tokens would travel in the clear"
	}
	return word, ""
}

// witnessURL is where a witness answers; the path is what a proxy may add.
func witnessURL(_, word string) (string, string) {
	u, err := url.Parse(word)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return word, "must be an http or https URL, like https://ew2.example:8081"
	case u.User != nil:
		return word, "must not carry a user or password: what a witness says is no secret"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return word, "must end with the host or a path: /witness/ and the federation's name are added to it"
	}
	return strings.TrimRight(word, "/"), ""
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func slackID(letters, word string) (string, string) {
	ok := len(word) > 1 && strings.Contains(letters, word[:1])
	for _, r := range word {
		ok = ok && (r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
	}
	if !ok {
		return word, "must be a Slack id that begins with " + strings.Join(strings.Split(letters, ""), " or ") +
			", not a name: it stands at the end of the details in Slack"
	}
	return word, ""
}

// form holds the check tag.
func (s *source) form(path string, v reflect.Value, tag reflect.StructTag) {
	if v.Kind() != reflect.String {
		return
	}
	kind, arg, _ := strings.Cut(tag.Get("check"), ":")
	word := v.String()
	if word == "" {
		if tag.Get("required") == "true" {
			s.bad(path, "is empty")
		}
		return
	}
	if kind == "file" || kind == "path" {
		v.SetString(s.absolute(word))
		return
	}
	check, ok := forms[kind]
	if !ok {
		return
	}
	usual, problem := check(arg, word)
	if problem != "" {
		s.bad(path, "%s", problem)
		return
	}
	v.SetString(usual)
}

// credentialsDir begins a file name that lies where systemd puts what
// LoadCredential= names.
const credentialsDir = "$CREDENTIALS_DIRECTORY/"

// absolute is a file name of the configuration as an absolute one.
func (s *source) absolute(name string) string {
	if rest, ok := strings.CutPrefix(name, credentialsDir); ok {
		if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
			return filepath.Join(dir, rest)
		}
		return name
	}
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(s.base, name)
}
