package actionstest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	nsShell       = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
	nsFault       = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"
	transferSpace = "http://schemas.xmlsoap.org/ws/2004/09/transfer/"
	maxLine       = 8191 // of cmd.exe

	faultDenied   = 5
	faultAborted  = 995
	faultTimedOut = 2150858793
	faultNoShell  = 2150858843
	faultQuota    = 2150859173
)

// shell is an open WinRS shell.
type shell struct {
	user     string
	commands map[string]*command
}

// command is one that runs or ran.
type command struct {
	cancel  context.CancelFunc
	changed chan struct{} // has a token when there is something new

	mu      sync.Mutex
	out     []stream
	done    bool
	aborted bool
	exit    int
}

type stream struct {
	name string
	data []byte
}

// request is what a client asks.
type request struct {
	XMLName xml.Name
	Header  struct {
		Action    string
		MessageID string
		Timeout   string `xml:"OperationTimeout"`
		Selectors []struct {
			Name  string `xml:"Name,attr"`
			Value string `xml:",chardata"`
		} `xml:"SelectorSet>Selector"`
	}
	Body struct {
		CommandLine struct {
			Command   string
			Arguments []string
		}
		Receive struct {
			DesiredStream struct {
				CommandID string `xml:"CommandId,attr"`
			}
		}
		Signal struct {
			CommandID string `xml:"CommandId,attr"`
		}
	}
}

func (q *request) op() string { return q.Header.Action[strings.LastIndexByte(q.Header.Action, '/')+1:] }

func (q *request) shell() string {
	for _, s := range q.Header.Selectors {
		if s.Name == "ShellId" {
			return s.Value
		}
	}
	return ""
}

// answer is what the host says: a body, or a fault.
type answer struct {
	action, body string
	code         uint32
	subcode      string
}

func failed(code uint32, subcode string) answer { return answer{code: code, subcode: subcode} }

// serveSOAP answers one request whose sender is known.
func (w *WinRM) serveSOAP(rw http.ResponseWriter, r *http.Request, a *acceptor, user string, body []byte, sealed bool) {
	var q request
	if err := xml.Unmarshal(body, &q); err != nil {
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	f := w.fault(q.op())
	if !w.mistreat(rw, r, f) {
		return
	}
	var out answer
	switch f.Kind {
	case SOAPFault:
		out = failed(f.Code, "w:InternalError")
	case WrongReply:
		out = answer{action: nsShell + "/SendResponse", body: "<rsp:SendResponse/>"}
	default:
		out = w.operate(r, &q, user)
	}
	switch f.Kind {
	case ResetAfter:
		reset(rw)
		return
	case HangAfter:
		w.hang(r)
		panic(http.ErrAbortHandler)
	default:
	}
	doc, status := out.render(q.Header.MessageID)
	contentType := "application/soap+xml;charset=UTF-8"
	if sealed {
		doc = a.seal(doc)
		contentType = `multipart/encrypted;protocol="` + sealedProto + `";boundary="Encrypted Boundary"`
	}
	rw.Header().Set("Content-Type", contentType)
	rw.WriteHeader(status)
	_, _ = rw.Write(doc)
}

func (o answer) render(relatesTo string) ([]byte, int) {
	status, action, body := http.StatusOK, o.action, o.body
	if o.code != 0 {
		status, action = http.StatusInternalServerError, nsFault
		body = fmt.Sprintf(`<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>%s</s:Value></s:Subcode></s:Code>`+
			`<s:Reason><s:Text xml:lang="it-IT">Il servizio WS-Management non può completare l'operazione.</s:Text></s:Reason>`+
			`<s:Detail><f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="%d" Machine="host"><f:Message>…</f:Message></f:WSManFault></s:Detail></s:Fault>`, o.subcode, o.code)
	}
	return fmt.Appendf(nil, `<s:Envelope xml:lang="it-IT" xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"`+
		` xmlns:x="http://schemas.xmlsoap.org/ws/2004/09/transfer" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:rsp=%q>`+
		`<s:Header><a:Action>%s</a:Action><a:MessageID>uuid:0</a:MessageID><a:RelatesTo>%s</a:RelatesTo></s:Header><s:Body>%s</s:Body></s:Envelope>`,
		nsShell, action, relatesTo, body), status
}

func (w *WinRM) operate(r *http.Request, q *request, user string) answer {
	op := q.op()
	if op == "Create" {
		return w.create(user)
	}
	w.mu.Lock()
	sh := w.shells[q.shell()]
	w.mu.Unlock()
	if sh == nil {
		return failed(faultNoShell, "w:InvalidSelectors")
	}
	if sh.user != user {
		return failed(faultDenied, "w:AccessDenied")
	}
	switch op {
	case "Command":
		return w.command(sh, q)
	case "Receive":
		return w.receive(r, sh, q)
	case "Send":
		return answer{action: nsShell + "/SendResponse", body: "<rsp:SendResponse/>"}
	case "Signal":
		return w.signal(sh, q.Body.Signal.CommandID)
	case "Delete":
		w.mu.Lock()
		delete(w.shells, q.shell())
		ids := slices.Collect(maps.Keys(sh.commands))
		w.mu.Unlock()
		for _, id := range ids {
			w.signal(sh, id)
		}
		return answer{action: transferSpace + "DeleteResponse"}
	}
	return failed(faultNoShell, "a:ActionNotSupported")
}

func (w *WinRM) create(user string) answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.shells) >= w.o.MaxShells {
		return failed(faultQuota, "w:QuotaLimit")
	}
	w.next++
	id := fmt.Sprintf("11111111-2222-3333-4444-%012X", w.next)
	w.shells[id] = &shell{user: user, commands: map[string]*command{}}
	return answer{action: transferSpace + "CreateResponse", body: fmt.Sprintf(
		`<x:ResourceCreated><a:Address>http://host:5985/wsman</a:Address><a:ReferenceParameters><w:ResourceURI>%s/cmd</w:ResourceURI>`+
			`<w:SelectorSet><w:Selector Name="ShellId">%s</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>`+
			`<rsp:Shell><rsp:ShellId>%s</rsp:ShellId><rsp:Owner>%s</rsp:Owner></rsp:Shell>`, nsShell, id, id, escape(user))}
}

func (w *WinRM) command(sh *shell, q *request) answer {
	line := strings.Join(append([]string{q.Body.CommandLine.Command}, q.Body.CommandLine.Arguments...), " ")
	ctx, cancel := context.WithCancel(w.ctx)
	c := &command{cancel: cancel, changed: make(chan struct{}, 1)}
	w.mu.Lock()
	w.next++
	id := fmt.Sprintf("AAAAAAAA-BBBB-CCCC-DDDD-%012X", w.next)
	sh.commands[id] = c
	w.mu.Unlock()
	w.wg.Go(func() {
		defer cancel()
		c.finish(w.execute(ctx, line, sh.user), w.o.Chunk)
	})
	return answer{action: nsShell + "/CommandResponse", body: "<rsp:CommandResponse><rsp:CommandId>" + id + "</rsp:CommandId></rsp:CommandResponse>"}
}

// execute is cmd.exe.
func (w *WinRM) execute(ctx context.Context, line, user string) Output {
	if len(line) > maxLine {
		return Output{Stderr: "The command line is too long.\r\n", Exit: 1}
	}
	if w.o.Command != nil {
		if out, ok := w.o.Command(line); ok {
			if out.Take > 0 {
				t := time.NewTimer(out.Take)
				defer t.Stop()
				select {
				case <-t.C:
				case <-ctx.Done():
				}
			}
			return out
		}
	}
	text, err := decodeCommand(line)
	var script []statement
	if err == nil {
		script, err = parseScript(text)
	}
	if err != nil {
		w.mu.Lock()
		w.unknown = append(w.unknown, err.Error())
		w.mu.Unlock()
		return Output{Stderr: CLIXML("fake: " + err.Error()), Exit: 1}
	}
	stdout, exit := w.estate.evaluate(ctx, w.host, user, script)
	return Output{Stdout: stdout, Exit: exit}
}

// CLIXML is how PowerShell writes an error to stderr when nobody looks.
func CLIXML(message string) string {
	return "#< CLIXML\r\n" + `<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">` +
		`<Obj S="progress" RefId="0"><TN RefId="0"><T>System.Object</T></TN><MS><S N="Activity">Preparing modules</S></MS></Obj>` +
		`<S S="Error">` + escape(message) + `_x000D__x000A_</S></Objs>`
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// finish cuts the output into chunks, wherever that falls.
func (c *command) finish(o Output, chunk int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range []stream{{"stdout", []byte(o.Stdout)}, {"stderr", []byte(o.Stderr)}} {
		for len(s.data) > 0 {
			n := min(chunk, len(s.data))
			c.out = append(c.out, stream{s.name, s.data[:n]})
			s.data = s.data[n:]
		}
	}
	c.done, c.exit = true, o.Exit
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// receive hands out up to four chunks, or waits for one as long as the client
// and Hold allow.
func (w *WinRM) receive(r *http.Request, sh *shell, q *request) answer {
	id := q.Body.Receive.DesiredStream.CommandID
	w.mu.Lock()
	c := sh.commands[id]
	w.mu.Unlock()
	if c == nil {
		return failed(faultNoShell, "w:InvalidSelectors")
	}
	hold := w.o.Hold
	if d, err := time.ParseDuration(strings.ToLower(strings.TrimPrefix(q.Header.Timeout, "PT"))); err == nil {
		hold = min(hold, d)
	}
	t := time.NewTimer(hold)
	defer t.Stop()
	for {
		if out, ok := c.take(id); ok {
			return out
		}
		select {
		case <-c.changed:
		case <-t.C:
			return failed(faultTimedOut, "w:TimedOut")
		case <-r.Context().Done():
			return failed(faultAborted, "w:TimedOut")
		}
	}
}

func (c *command) take(id string) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted {
		return failed(faultAborted, "w:InternalError"), true
	}
	if len(c.out) == 0 && !c.done {
		return answer{}, false
	}
	var b strings.Builder
	n := min(4, len(c.out))
	for _, s := range c.out[:n] {
		fmt.Fprintf(&b, `<rsp:Stream Name=%q CommandId=%q>%s</rsp:Stream>`, s.name, id, base64.StdEncoding.EncodeToString(s.data))
	}
	if c.out = c.out[n:]; len(c.out) == 0 && c.done {
		fmt.Fprintf(&b, `<rsp:Stream Name="stdout" CommandId=%q End="true"></rsp:Stream><rsp:CommandState CommandId=%q State="%s/CommandState/Done"><rsp:ExitCode>%d</rsp:ExitCode></rsp:CommandState>`, id, id, nsShell, c.exit)
	} else {
		fmt.Fprintf(&b, `<rsp:CommandState CommandId=%q State="%s/CommandState/Running"/>`, id, nsShell)
	}
	return answer{action: nsShell + "/ReceiveResponse", body: "<rsp:ReceiveResponse>" + b.String() + "</rsp:ReceiveResponse>"}, true
}

func (w *WinRM) signal(sh *shell, id string) answer {
	w.mu.Lock()
	c := sh.commands[id]
	w.mu.Unlock()
	if c != nil {
		c.cancel()
		c.mu.Lock()
		c.aborted = true
		c.mu.Unlock()
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
	return answer{action: nsShell + "/SignalResponse", body: "<rsp:SignalResponse/>"}
}
