package manifest

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// pair is one entry of a mapping.
type pair struct{ key, value *yaml.Node }

// pairs lists a mapping's entries in order, with merge keys (<<) expanded, and
// refuses keys that are not text or come twice.
func (d *decoder) pairs(n *yaml.Node, path string) []pair {
	return d.merged(n, path, 0)
}

func (d *decoder) merged(n *yaml.Node, path string, depth int) []pair {
	var own, inherited []pair
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			d.fail(n.Content[i], path, "a key must be plain text, not %s", describe(key))
			continue
		}
		if key.ShortTag() == "!!merge" {
			inherited = append(inherited, d.merge(value, path, depth)...)
			continue
		}
		if line, twice := first[key.Value]; twice {
			d.fail(key, join(path, key.Value), "this key is there already, in line %d", line)
			continue
		}
		first[key.Value] = key.Line
		own = append(own, pair{key, value})
	}
	for _, p := range inherited {
		if _, there := first[p.key.Value]; !there {
			first[p.key.Value] = p.key.Line
			own = append(own, p)
		}
	}
	return own
}

// merge is what follows <<: a mapping or several.
func (d *decoder) merge(n *yaml.Node, path string, depth int) []pair {
	if depth >= maxMerge {
		d.fail(n, path, "merge keys (<<) are nested more than %d deep", maxMerge)
		return nil
	}
	n, ok := d.visit(n, path)
	if !ok {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		if d.nodes += len(n.Content); d.nodes > maxNodes {
			return nil // the next visit says so
		}
		return d.merged(n, path, depth+1)
	case yaml.SequenceNode:
		var out []pair
		for _, c := range n.Content {
			out = append(out, d.merge(c, path, depth+1)...)
		}
		return out
	default:
	}
	d.fail(n, path, "<< merges a mapping, not %s", describe(n))
	return nil
}

func lookup(fields []pair, key string) *yaml.Node {
	for _, f := range fields {
		if f.key.Value == key {
			if f.value.Kind == yaml.AliasNode {
				return f.value.Alias
			}
			return f.value
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// describe says what a node is, for messages.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!null":
			return "nothing"
		case "!!bool":
			return "the truth value " + short(n.Value)
		case "!!int", "!!float":
			return "the number " + short(n.Value)
		case "!!str":
			return "the text " + short(n.Value)
		}
		return short(n.Value)
	default:
	}
	return "something else"
}

// short quotes a text and keeps it from filling the screen.
func short(s string) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%.*q…", most, s)
	}
	return fmt.Sprintf("%q", s)
}

// join makes the path of a field; keys that would be ambiguous go in brackets.
func join(path, key string) string {
	if strings.ContainsAny(key, ".[]/ ") {
		return path + "[" + key + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
