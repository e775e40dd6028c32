package actionstest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// This is no PowerShell. It knows one frame, letter by letter, and between its
// two halves a list of statements of this form:
//
//	$r.name=@(Cmdlet -Parameter 'value','value' -Switch -Switch:$false|stage)
//	$null=@(…)
//
// where the stage is EwPick, EwStill or ForEach-Object{$_.Path}. Anything else
// is refused loudly: it is then up to whoever changed the scripts to teach the
// fake what PowerShell would do.
const (
	frameHead = `$ErrorActionPreference='Stop';$ProgressPreference='SilentlyContinue';$WarningPreference='SilentlyContinue'
$r=@{now=[datetime]::UtcNow.ToString('o')}
function EwModule([string[]]$m){foreach($n in $m){if(Get-Module -ListAvailable -Name $n){Import-Module -Name $n;return $n}};throw 'edgewatch:no-module'}
function EwPick([string[]]$f){process{$o=@{};foreach($n in $f){$v=$_.$n;if($v -is [datetime]){$v=$v.ToUniversalTime().ToString('o')}elseif($v -isnot [bool]){$v="$v"};$o[$n]=$v};$o}}
function EwStill([string]$n,[string]$was){begin{$k=0}process{$k++;if("$($_.$n)" -ne $was){throw 'edgewatch:changed'}}end{if($k -ne 1){throw 'edgewatch:changed'}}}
try{
`
	frameTail = `}catch{$x=$_;$i=$x.Exception;while($i.InnerException){$i=$i.InnerException}
$r.error=@{id="$($x.FullyQualifiedErrorId)";type=$x.Exception.GetType().FullName;inner=$i.GetType().FullName;category="$($x.CategoryInfo.Category)";cmdlet="$($x.InvocationInfo.MyCommand)";message="$($x.Exception.Message)"}}
$j=[regex]::Replace((ConvertTo-Json -InputObject $r -Depth 4 -Compress),'[^ -~]',{'\u{0:x4}' -f [int][char]$args[0].Value})
[Console]::Out.WriteLine('#<edgewatch '+$j+' edgewatch>#')
if($r.error){exit 1}
exit 0
`
)

// statement is one line of a script's body.
type statement struct {
	into  string // "" discards
	call  invocation
	stage string // "", "pick", "still" or "each"
	with  []string
}

// decodeCommand finds the script in powershell.exe's command line.
func decodeCommand(line string) (string, error) {
	fields := strings.Fields(line)
	if len(fields) < 2 || !strings.EqualFold(strings.TrimSuffix(strings.ToLower(fields[0]), ".exe"), "powershell") {
		return "", fmt.Errorf("not a PowerShell command line: %.60q", line)
	}
	var flags []string
	for i, f := range fields[1:] {
		if strings.EqualFold(f, "-EncodedCommand") && i+2 < len(fields) {
			for _, must := range []string{"-noprofile", "-noninteractive"} {
				if !slices.Contains(flags, must) {
					return "", fmt.Errorf("powershell.exe without %s", must)
				}
			}
			raw, err := base64.StdEncoding.DecodeString(fields[i+2])
			if err != nil || len(raw)%2 != 0 {
				return "", fmt.Errorf("-EncodedCommand is not UTF-16 in base64")
			}
			return fromUTF16(raw), nil
		}
		flags = append(flags, strings.ToLower(f))
	}
	return "", fmt.Errorf("powershell.exe without -EncodedCommand")
}

// parseScript recognises a script.
func parseScript(text string) ([]statement, error) {
	body, ok := strings.CutPrefix(text, frameHead)
	body, ok2 := strings.CutSuffix(body, frameTail)
	if !ok || !ok2 {
		return nil, fmt.Errorf("the script is not in the frame that this fake knows")
	}
	p := &scanner{rest: body}
	var out []statement
	for p.rest != "" {
		s, err := p.statement()
		if err != nil {
			return nil, fmt.Errorf("%w at %.60q", err, p.rest)
		}
		out = append(out, s)
	}
	return out, nil
}

// scanner reads a script's body from the left.
type scanner struct{ rest string }

func (p *scanner) eat(literal string) bool {
	rest, ok := strings.CutPrefix(p.rest, literal)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *scanner) word() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
	if end < 0 {
		end = len(p.rest)
	}
	w := p.rest[:end]
	p.rest = p.rest[end:]
	return w
}

// literal reads a single-quoted string; PowerShell takes four typographic
// quotes for the plain one.
func (p *scanner) literal() (string, error) {
	isQuote := func(r rune) bool { return strings.ContainsRune("'\u2018\u2019\u201a\u201b", r) }
	runes := []rune(p.rest)
	if len(runes) == 0 || !isQuote(runes[0]) {
		return "", fmt.Errorf("a quoted value is due")
	}
	var b strings.Builder
	for i := 1; i < len(runes); i++ {
		if !isQuote(runes[i]) {
			b.WriteRune(runes[i])
			continue
		}
		if i+1 < len(runes) && isQuote(runes[i+1]) {
			b.WriteRune(runes[i])
			i++
			continue
		}
		p.rest = string(runes[i+1:])
		return b.String(), nil
	}
	return "", fmt.Errorf("an unterminated string")
}

func (p *scanner) literals() ([]string, error) {
	var out []string
	for {
		v, err := p.literal()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if !p.eat(",") {
			return out, nil
		}
	}
}

func (p *scanner) statement() (statement, error) {
	var s statement
	switch {
	case p.eat("$r."):
		if s.into = p.word(); s.into == "" {
			return s, fmt.Errorf("a field's name is due")
		}
	case p.eat("$null"):
	default:
		return s, fmt.Errorf("an assignment is due")
	}
	if !p.eat("=@(") {
		return s, fmt.Errorf("=@( is due")
	}
	if err := p.invocation(&s.call); err != nil {
		return s, err
	}
	if p.eat("|") {
		if err := p.pipe(&s); err != nil {
			return s, err
		}
	}
	if !p.eat(")\n") {
		return s, fmt.Errorf("the end of the statement is due")
	}
	return s, nil
}

func (p *scanner) invocation(in *invocation) error {
	in.args, in.named = map[string]string{}, map[string]string{}
	if in.cmdlet = p.word(); in.cmdlet == "" {
		return fmt.Errorf("a cmdlet is due")
	}
	for p.eat(" ") {
		if !p.eat("-") {
			values, err := p.literals()
			if err != nil {
				return err
			}
			in.bare = append(in.bare, values...)
			continue
		}
		name := p.word()
		value := "true"
		switch {
		case p.eat(":$false"):
			value = "false"
		case strings.HasPrefix(p.rest, " ") && !strings.HasPrefix(p.rest, " -"):
			p.eat(" ")
			values, err := p.literals()
			if err != nil {
				return err
			}
			value = strings.Join(values, ",")
		}
		if _, twice := in.args[strings.ToLower(name)]; twice || name == "" {
			return fmt.Errorf("parameter %q twice or without a name", name)
		}
		in.args[strings.ToLower(name)], in.named[name] = value, value
	}
	return nil
}

func (p *scanner) pipe(s *statement) (err error) {
	switch {
	case p.eat("EwPick "):
		s.stage = "pick"
		s.with, err = p.literals()
	case p.eat("EwStill "):
		s.stage = "still"
		s.with = make([]string, 2)
		if s.with[0], err = p.literal(); err != nil || !p.eat(" ") {
			return fmt.Errorf("EwStill takes two values")
		}
		s.with[1], err = p.literal()
	case p.eat("ForEach-Object{$_."):
		s.stage = "each"
		s.with = []string{p.word()}
		if !p.eat("}") {
			err = fmt.Errorf("} is due")
		}
	default:
		err = fmt.Errorf("an unknown stage of a pipeline")
	}
	return err
}

// text is what "$value" gives in PowerShell.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return map[bool]string{true: "True", false: "False"}[v]
	case []string:
		return strings.Join(v, " ")
	case time.Time:
		return v.UTC().Format("01/02/2006 15:04:05")
	}
	return fmt.Sprint(value)
}

// output runs the objects of a cmdlet through the stage of its statement.
func (s statement) output(objects []object) ([]any, *Failure) {
	out := []any{}
	changed := &Failure{ID: "edgewatch:changed", Type: typeRuntime, Category: "OperationStopped", Message: "edgewatch:changed"}
	for _, o := range objects {
		switch s.stage {
		case "pick":
			row := map[string]any{}
			for _, name := range s.with {
				switch v := o[name].(type) {
				case bool:
					row[name] = v
				case time.Time:
					row[name] = v.UTC().Format("2006-01-02T15:04:05.0000000Z")
				default:
					row[name] = text(v)
				}
			}
			out = append(out, row)
		case "still":
			if !strings.EqualFold(text(o[s.with[0]]), s.with[1]) {
				return nil, changed
			}
		case "each":
			list, _ := o[s.with[0]].([]string)
			for _, v := range list {
				out = append(out, v)
			}
		default:
			out = append(out, text(o["Identity"]))
		}
	}
	if s.stage == "still" && len(objects) != 1 {
		return nil, changed
	}
	return out, nil
}

// evaluate runs a script on a host and gives what it prints and its exit code.
func (e *Estate) evaluate(ctx context.Context, host, user string, script []statement) (string, int) {
	e.mu.Lock()
	ahead := e.knobs.ClockAhead
	modules := slices.Clone(e.knobs.Modules)
	e.mu.Unlock()
	r := map[string]any{"now": time.Now().Add(ahead).UTC().Format("2006-01-02T15:04:05.0000000Z")}
	exit := 0
	imported := false
	for _, s := range script {
		var out []any
		var failure *Failure
		switch {
		case s.call.cmdlet == "EwModule":
			i := slices.IndexFunc(s.call.bare, func(m string) bool { return slices.Contains(modules, m) })
			if i < 0 {
				failure = &Failure{ID: "edgewatch:no-module", Type: typeRuntime, Category: "OperationStopped", Message: "edgewatch:no-module"}
			} else {
				out, imported = []any{s.call.bare[i]}, true
			}
		case !imported:
			failure = &Failure{ID: "CommandNotFoundException", Type: typeUnknown, Category: "ObjectNotFound", Message: "no module was imported"}
		default:
			var objects []object
			if objects, failure = e.run(ctx, host, user, s.call); failure == nil {
				out, failure = s.output(objects)
			}
		}
		if failure != nil {
			r["error"] = map[string]string{"id": failure.ID, "type": failure.Type, "inner": failure.Type, "category": failure.Category, "cmdlet": s.call.cmdlet, "message": failure.Message}
			exit = 1
			break
		}
		if s.into != "" {
			r[s.into] = out
		}
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err.Error(), 1
	}
	return "#<edgewatch " + ascii(string(raw)) + " edgewatch>#\r\n", exit
}

// ascii escapes what is not printable ASCII, as the frame's last lines do.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= ' ' && r <= '~' {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, u)
		}
	}
	return b.String()
}
