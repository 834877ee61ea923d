package main

import (
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// kindWords are the words for kinds: singular, plural and short.
func kindWords() []struct {
	kind  dhowv1.Kind
	words []string
} {
	return []struct {
		kind  dhowv1.Kind
		words []string
	}{
		{dhowv1.Kind_KIND_WORKLOAD, []string{"workload", "workloads", "wl"}},
		{dhowv1.Kind_KIND_INSTANCE, []string{"instance", "instances", "inst", "i"}},
		{dhowv1.Kind_KIND_NODE, []string{"node", "nodes", "no"}},
		{dhowv1.Kind_KIND_EVENT, []string{"event", "events", "ev"}},
		{dhowv1.Kind_KIND_ARTIFACT, []string{"artifact", "artifacts", "art"}},
		{dhowv1.Kind_KIND_NAMESPACE, []string{"namespace", "namespaces", "ns"}},
		{dhowv1.Kind_KIND_REVISION, []string{"revision", "revisions", "rev"}},
		{dhowv1.Kind_KIND_TOKEN, []string{"token", "tokens"}},
	}
}

func parseKind(s string) (dhowv1.Kind, error) {
	var known []string
	for _, k := range kindWords() {
		for _, w := range k.words {
			if strings.EqualFold(w, s) {
				return k.kind, nil
			}
		}
		known = append(known, k.words[1])
	}
	return 0, spec.Errorf(spec.CodeInvalid, "kind %q is unknown: say %s", s, strings.Join(known, ", "))
}

// parseRefs reads KIND, KIND NAME..., or KIND/NAME....
func parseRefs(args []string) (kind dhowv1.Kind, names []string, err error) {
	if word, _, slash := strings.Cut(args[0], "/"); slash {
		for _, arg := range args {
			k, name, ok := strings.Cut(arg, "/")
			if !ok || !strings.EqualFold(k, word) || name == "" {
				return 0, nil, spec.Errorf(spec.CodeInvalid, "%q: give KIND/NAME throughout, all of one kind", arg)
			}
			names = append(names, name)
		}
		kind, err = parseKind(word)
		return kind, names, err
	}
	kind, err = parseKind(args[0])
	return kind, args[1:], err
}

// ref names an object in the current namespace.
func (a *app) ref(kind dhowv1.Kind, name string) *dhowv1.Ref {
	r := &dhowv1.Ref{Kind: kind, Name: name}
	if spec.Namespaced(kind) {
		r.Namespace = a.namespace()
	}
	return r
}

// parsePairs reads a=b texts, each possibly several with commas.
func parsePairs(flag string, texts []string) (map[string]string, error) {
	out := map[string]string{}
	for _, t := range texts {
		for part := range strings.SplitSeq(t, ",") {
			k, v, ok := strings.Cut(part, "=")
			if !ok || k == "" {
				return nil, spec.Errorf(spec.CodeInvalid, "%s %q: want key=value", flag, part)
			}
			out[k] = v
		}
	}
	return out, nil
}
