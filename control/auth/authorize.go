package auth

import (
	"slices"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Verb is something one may do.
type Verb string

// The verbs.
const (
	VerbRead         Verb = "read"      // Get, List, Watch, Why; per kind
	VerbWrite        Verb = "write"     // Apply; per kind
	VerbDelete       Verb = "delete"    // per kind
	VerbLogs         Verb = "read logs" // LogService
	VerbCall         Verb = "call functions"
	VerbFetch        Verb = "fetch"         // artifacts: Stat, Fetch
	VerbUpload       Verb = "upload"        // artifacts
	VerbInfo         Verb = "see info"      // ClusterService.Info, StateHash
	VerbWhoAmI       Verb = "ask who it is" // anyone known
	VerbCreateToken  Verb = "create tokens"
	VerbRemoveServer Verb = "remove servers"
	VerbJoinNode     Verb = "join as a node"
	VerbJoinServer   Verb = "join as a server"
	VerbRenew        Verb = "renew its certificate"
	VerbSession      Verb = "hold a node's session" // AgentService
	VerbPeer         Verb = "act as a peer"         // PeerService, local uploads
)

// Caller is one row's holder in the table: a role, or what a certificate says.
type Caller string

// The callers.
const (
	Viewer     Caller = "viewer"
	Deployer   Caller = "deployer"
	Admin      Caller = "admin"
	JoinNode   Caller = "join-node"
	JoinServer Caller = "join-server"
	NodeCert   Caller = "node"
	ServerCert Caller = "server"
	Nobody     Caller = ""
)

// Caller tells which row of the table counts for the identity.
func (id Identity) Caller() Caller {
	switch {
	case id.Server != "":
		return ServerCert
	case id.Node != "":
		return NodeCert
	}
	switch id.Role {
	case dhowv1.Role_ROLE_VIEWER:
		return Viewer
	case dhowv1.Role_ROLE_DEPLOYER:
		return Deployer
	case dhowv1.Role_ROLE_ADMIN:
		return Admin
	case dhowv1.Role_ROLE_JOIN_NODE:
		return JoinNode
	case dhowv1.Role_ROLE_JOIN_SERVER:
		return JoinServer
	default:
		return Nobody
	}
}

// may is the table. It names who may, from least to most.
func may(verb Verb, kind dhowv1.Kind) []Caller {
	switch verb {
	case VerbRead:
		if kind == dhowv1.Kind_KIND_TOKEN {
			return []Caller{Admin}
		}
		return []Caller{Viewer, Deployer, Admin}
	case VerbWrite, VerbDelete:
		if kind == dhowv1.Kind_KIND_WORKLOAD || kind == dhowv1.Kind_KIND_ARTIFACT {
			return []Caller{Deployer, Admin}
		}
		return []Caller{Admin}
	case VerbLogs:
		return []Caller{Viewer, Deployer, Admin}
	case VerbFetch:
		return []Caller{Viewer, Deployer, Admin, NodeCert, ServerCert}
	case VerbCall:
		// A node calls for its instances, as far as their policies allow.
		return []Caller{Deployer, Admin, NodeCert}
	case VerbUpload:
		return []Caller{Deployer, Admin}
	case VerbInfo:
		return []Caller{Viewer, Deployer, Admin, NodeCert, ServerCert}
	case VerbWhoAmI:
		return []Caller{Viewer, Deployer, Admin, JoinNode, JoinServer, NodeCert, ServerCert}
	case VerbCreateToken, VerbRemoveServer:
		return []Caller{Admin}
	case VerbJoinNode:
		return []Caller{JoinNode}
	case VerbJoinServer:
		return []Caller{JoinServer}
	case VerbRenew:
		return []Caller{NodeCert, ServerCert}
	case VerbSession:
		return []Caller{NodeCert}
	case VerbPeer:
		return []Caller{ServerCert}
	}
	return nil
}

// Authorize answers nil, or an error that says who may. The kind counts for
// read, write and delete only; one that is unspecified (all kinds) is as
// guarded as tokens are.
func Authorize(id Identity, verb Verb, kind dhowv1.Kind) error {
	if kind == dhowv1.Kind_KIND_UNSPECIFIED {
		kind = dhowv1.Kind_KIND_TOKEN
	}
	caller := id.Caller()
	if caller == Nobody {
		return spec.Errorf(spec.CodeUnknownUser, "not authenticated: send a token (`dhow token create` makes one) or a certificate of this cluster")
	}
	if id.Expired && verb != VerbRenew && verb != VerbWhoAmI {
		return spec.Errorf(spec.CodeUnknownUser, "the certificate of %s has ended: it may only be renewed", id.Subject)
	}
	allowed := may(verb, kind)
	if slices.Contains(allowed, caller) {
		return nil
	}
	what := string(verb)
	switch verb {
	case VerbRead, VerbWrite, VerbDelete:
		what += " " + spec.KindName(kind) + "s"
	case VerbFetch, VerbUpload:
		what += " artifacts"
	default:
	}
	if len(allowed) == 0 {
		return spec.Errorf(spec.CodeDenied, "%s may not %s: nobody may", id.Subject, what)
	}
	return spec.Errorf(spec.CodeDenied, "%s (%s) may not %s: that takes %s", id.Subject, caller, what, allowed[0])
}

// OwnNode answers nil when the caller is the node; a node may touch nothing
// that is another's.
func OwnNode(id Identity, node string) error {
	if id.Node != "" && id.Node == node {
		return nil
	}
	return spec.Errorf(spec.CodeDenied, "%s may not act for node %q", id.Subject, node)
}
