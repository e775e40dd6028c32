package probe

// Class names what a probe saw: one word per thing an operator would act on
// differently. The words stand in JSON, metrics, logs and Slack alike.
type Class string

// Classes that mean the server is up and nothing is remarkable.
const (
	ClassUnknown Class = "" // nothing was learned
	OK           Class = "ok"
)

// Classes of phases before TLS.
const (
	Refused     Class = "refused"     // connect: the port is closed
	Timeout     Class = "timeout"     // no answer in time; the phase says where
	Reset       Class = "reset"       // connection reset
	Unreachable Class = "unreachable" // no route to the host
	Closed      Class = "closed"      // closed by the server without an answer
	NotXMPP     Class = "not_xmpp"    // something else answers on the port
	StreamError Class = "stream_error"
	LocalError  Class = "local_error" // our own fault; never "down"
)
