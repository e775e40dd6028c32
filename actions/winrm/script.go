package winrm

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// maxCommandLine is cmd.exe's limit, in characters.
const maxCommandLine = 8191

// Script is a PowerShell script made of cmdlet calls. It is rendered into one
// fixed frame, so that nothing but the calls differs between scripts.
type Script struct {
	Op     string // what it is for, as errors say it, e.g. "Stop-CsWindowsService"
	Module bool   // import the Cs module first
	Writes bool   // it changes something: an answer that is lost is Indeterminate
	Calls  []Call
}

// Call is one cmdlet, run in order with the others. Its output is discarded
// unless Into names a field of the answer.
type Call struct {
	Cmdlet string
	Args   []Arg
	Into   string   // field of the answer, a list
	Pick   []string // properties to keep, as strings, booleans and RFC 3339 times
	Each   string   // or: a property path taken from every object, e.g. "Parameters.Keys"
	Still  *Still   // or: stop the script unless exactly one object has this value
}

// Still is the compare of read-compare-write: the script ends, and nothing
// after it runs, unless exactly one object is there whose Property prints as
// Was (without case).
type Still struct{ Property, Was string }

// Arg is one argument of a Call.
type Arg struct {
	name   string
	values []string
	sw     byte // 'v' value, '+' switch, '-' switch turned off
}

// Value is -name with one or more values. Values are data: they reach
// PowerShell as quoted literals, whatever they hold.
func Value(name string, values ...string) Arg { return Arg{name: name, values: values, sw: 'v'} }

// Switch is -name.
func Switch(name string) Arg { return Arg{name: name, sw: '+'} }

// Off is -name:$false.
func Off(name string) Arg { return Arg{name: name, sw: '-'} }

// The frame of every script. It prints one line of ASCII JSON between sentinels, so neither
// code page nor console width nor a module that chatters can spoil the answer;
// dates are UTC in the invariant "o" form whatever the server's language. The
// exit code agrees with the answer, and proves nothing alone.
const (
	head = `$ErrorActionPreference='Stop';$ProgressPreference='SilentlyContinue';$WarningPreference='SilentlyContinue'
$r=@{now=[datetime]::UtcNow.ToString('o')}
function EwModule([string[]]$m){foreach($n in $m){if(Get-Module -ListAvailable -Name $n){Import-Module -Name $n;return $n}};throw 'edgewatch:no-module'}
function EwPick([string[]]$f){process{$o=@{};foreach($n in $f){$v=$_.$n;if($v -is [datetime]){$v=$v.ToUniversalTime().ToString('o')}elseif($v -isnot [bool]){$v="$v"};$o[$n]=$v};$o}}
function EwStill([string]$n,[string]$was){begin{$k=0}process{$k++;if("$($_.$n)" -ne $was){throw 'edgewatch:changed'}}end{if($k -ne 1){throw 'edgewatch:changed'}}}
try{
`
	tail = `}catch{$x=$_;$i=$x.Exception;while($i.InnerException){$i=$i.InnerException}
$r.error=@{id="$($x.FullyQualifiedErrorId)";type=$x.Exception.GetType().FullName;inner=$i.GetType().FullName;category="$($x.CategoryInfo.Category)";cmdlet="$($x.InvocationInfo.MyCommand)";message="$($x.Exception.Message)"}}
$j=[regex]::Replace((ConvertTo-Json -InputObject $r -Depth 4 -Compress),'[^ -~]',{'\u{0:x4}' -f [int][char]$args[0].Value})
[Console]::Out.WriteLine('#<edgewatch '+$j+' edgewatch>#')
if($r.error){exit 1}
exit 0
`
	sentinelOpen  = "#<edgewatch "
	sentinelClose = " edgewatch>#"
)

const shellCommand = "powershell.exe -NoProfile -NonInteractive -EncodedCommand "

// quote makes s a PowerShell literal that evaluates to s and nothing else: a
// single-quoted string, in which only quotes need doubling. PowerShell takes
// the typographic single quotes for quotes too.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		switch r {
		case '\'', '\u2018', '\u2019', '\u201a', '\u201b':
			b.WriteRune(r)
		}
		b.WriteRune(r)
	}
	b.WriteByte('\'')
	return b.String()
}

func quoteAll(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return strings.Join(quoted, ",")
}

// word reports whether s may stand unquoted in a script: a cmdlet, parameter
// or property name, or a path of property names.
func word(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && r != '-' && r != '.'
	}) < 0
}

func (c Call) render(b *strings.Builder) error {
	words := slices.Concat([]string{c.Cmdlet}, c.Pick)
	if c.Into != "" {
		words = append(words, c.Into)
		fmt.Fprintf(b, "$r.%s=@(%s", c.Into, c.Cmdlet)
	} else {
		fmt.Fprintf(b, "$null=@(%s", c.Cmdlet)
	}
	for _, a := range c.Args {
		switch {
		case a.sw == 'v' && a.name == "":
			b.WriteString(" " + quoteAll(a.values))
			continue
		case a.sw == 'v':
			fmt.Fprintf(b, " -%s %s", a.name, quoteAll(a.values))
		case a.sw == '+':
			fmt.Fprintf(b, " -%s", a.name)
		default:
			fmt.Fprintf(b, " -%s:$false", a.name)
		}
		words = append(words, a.name)
	}
	switch {
	case c.Still != nil:
		words = append(words, c.Still.Property)
		fmt.Fprintf(b, "|EwStill %s %s", quote(c.Still.Property), quote(c.Still.Was))
	case c.Each != "":
		words = append(words, c.Each)
		fmt.Fprintf(b, "|ForEach-Object{$_.%s}", c.Each)
	case len(c.Pick) > 0:
		b.WriteString("|EwPick " + quoteAll(c.Pick))
	}
	b.WriteString(")\n")
	if i := slices.IndexFunc(words, func(w string) bool { return !word(w) }); i >= 0 {
		return fmt.Errorf("%q cannot be a name in a script", words[i])
	}
	return nil
}

// render is the PowerShell text of the script.
func (s Script) render(module string) (string, error) {
	var b strings.Builder
	b.WriteString(head)
	calls := s.Calls
	if s.Module {
		names := []string{module}
		if module == ModuleAuto {
			names = []string{"SkypeForBusiness", "Lync"}
		}
		calls = append([]Call{{Cmdlet: "EwModule", Args: []Arg{Value("", names...)}, Into: "module"}}, calls...)
	}
	for _, c := range calls {
		if err := c.render(&b); err != nil {
			return "", err
		}
	}
	b.WriteString(tail)
	return b.String(), nil
}

// errTooLong says that a command does not fit cmd.exe's command line.
var errTooLong = errors.New("the command line is too long")

// commandLine is what is sent: powershell.exe with the script encoded.
func (s Script) commandLine(module string) (string, error) {
	text, err := s.render(module)
	if err != nil {
		return "", err
	}
	units := utf16.Encode([]rune(text))
	raw := make([]byte, 0, 2*len(units))
	for _, u := range units {
		raw = append(raw, byte(u), byte(u>>8))
	}
	line := shellCommand + base64.StdEncoding.EncodeToString(raw)
	if len(line) > maxCommandLine {
		return "", fmt.Errorf("%w: %d characters, cmd.exe takes %d", errTooLong, len(line), maxCommandLine)
	}
	return line, nil
}

// show is the call as an operator would type it.
func (c Call) show() string {
	var b strings.Builder
	b.WriteString(c.Cmdlet)
	for _, a := range c.Args {
		switch a.sw {
		case 'v':
			if a.name != "" {
				b.WriteString(" -" + a.name)
			}
			for i, v := range a.values {
				if i > 0 {
					b.WriteByte(',')
				} else {
					b.WriteByte(' ')
				}
				b.WriteString(showValue(v))
			}
		case '+':
			b.WriteString(" -" + a.name)
		default:
			b.WriteString(" -" + a.name + ":$false")
		}
	}
	return b.String()
}

func showValue(v string) string {
	plain := strings.IndexFunc(v, func(r rune) bool {
		return r < ' ' || r == 0x7f || strings.ContainsRune("\"`$'\u2018\u2019\u201a\u201b\u201c\u201d\u201e", r)
	}) < 0
	if plain {
		return `"` + v + `"`
	}
	return quote(v)
}
