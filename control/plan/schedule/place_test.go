package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

func aNode(name string, cpu, memory uint64, change ...func(*dhowv1.Node)) *dhowv1.Node {
	n := &dhowv1.Node{
		Meta: &dhowv1.Meta{Name: name},
		Info: &dhowv1.NodeInfo{
			Os: "linux", Arch: "amd64", Zone: "a", Runtimes: []string{"wasm"},
			Allocatable: &dhowv1.ResourceList{Cpu: cpu, Memory: memory},
		},
		Liveness: &dhowv1.NodeLiveness{State: dhowv1.NodeState_NODE_STATE_READY},
	}
	for _, f := range change {
		f(n)
	}
	return n
}

func aTemplate(cpu, memory uint64, change ...func(*dhowv1.Template)) *dhowv1.Template {
	t := &dhowv1.Template{
		Placement: &dhowv1.Placement{},
		Tasks: []*dhowv1.Task{{
			Source:    &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{}},
			Resources: &dhowv1.Resources{Requests: &dhowv1.ResourceList{Cpu: cpu, Memory: memory}},
		}},
	}
	for _, f := range change {
		f(t)
	}
	return t
}

func spread(t *dhowv1.Template) {
	t.Placement.Strategy = dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_SPREAD
}

// fill places n instances and counts them by node.
func fill(c *Cluster, t *dhowv1.Template, n int) (counts map[string]int, placed int) {
	s := c.Shape(t)
	by := Counts{}
	counts = map[string]int{}
	b := c.Batch(s, by)
	for range n {
		node, ok := b.Place("")
		if !ok {
			return counts, placed
		}
		node.Take(s.Demand)
		by[node]++
		counts[node.Name()]++
		placed++
	}
	return counts, placed
}

// pick places one.
func pick(b *Batch, avoid string) string {
	n, ok := b.Place(avoid)
	if !ok {
		return ""
	}
	return n.Name()
}

func three() *Cluster {
	c := NewCluster()
	for _, n := range []string{"a", "b", "c"} {
		c.SetNode(aNode(n, 1000, 1<<30))
	}
	return c
}

func TestPackFillsANodeBeforeTheNext(t *testing.T) {
	counts, _ := fill(three(), aTemplate(100, 0), 15)
	if len(counts) != 2 || counts["a"] != 10 || counts["b"] != 5 {
		t.Errorf("%v", counts)
	}
}

func TestPackPrefersTheFullest(t *testing.T) {
	c := three()
	c.Node("b").Take(Demand{CPU: 500})
	counts, _ := fill(c, aTemplate(100, 0), 1)
	if counts["b"] != 1 {
		t.Errorf("%v", counts)
	}
}

func TestSpread(t *testing.T) {
	c := three()
	c.Node("a").Take(Demand{CPU: 500})
	counts, _ := fill(c, aTemplate(100, 0, spread), 1)
	if counts["a"] != 0 {
		t.Errorf("the first goes to the fullest: %v", counts)
	}
	c = three()
	counts, placed := fill(c, aTemplate(100, 0, spread), 31)
	if placed != 30 || counts["a"] != 10 || counts["b"] != 10 || counts["c"] != 10 {
		t.Errorf("%d %v", placed, counts)
	}
}

func TestSpreadCountsTheWorkloadFirst(t *testing.T) {
	c := three()
	c.Node("a").Take(Demand{CPU: 800})
	s := c.Shape(aTemplate(100, 0, spread))
	node := pick(c.Batch(s, Counts{c.Node("b"): 1, c.Node("c"): 1}), "")
	if node != "a" {
		t.Errorf("got %s", node)
	}
}

func TestWhatAsksForNothingDoesNotPileUp(t *testing.T) {
	counts, placed := fill(three(), aTemplate(0, 0), 3000)
	if placed != 3000 {
		t.Fatalf("%d placed", placed)
	}
	for _, n := range []string{"a", "b", "c"} {
		if counts[n] < 900 || counts[n] > 1100 {
			t.Errorf("%v", counts)
		}
	}
}

func TestAvoid(t *testing.T) {
	for _, tpl := range []*dhowv1.Template{aTemplate(100, 0), aTemplate(100, 0, spread)} {
		c := NewCluster()
		c.SetNode(aNode("a", 1000, 1<<30))
		s := c.Shape(tpl)
		if n := pick(c.Batch(s, Counts{}), "a"); n != "a" {
			t.Errorf("the only node is avoided: %q", n)
		}
		c.SetNode(aNode("b", 1000, 1<<30))
		for range 3 {
			if n := pick(c.Batch(s, Counts{}), "a"); n != "b" {
				t.Errorf("got %q", n)
			}
		}
	}
}

func TestEveryFilterSaysWhatLacks(t *testing.T) {
	since := timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	tpl := aTemplate(500, 256<<20, func(t *dhowv1.Template) {
		t.Placement.Constraints = []*dhowv1.Constraint{
			{Label: "dhow/zone", Operator: dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_IN, Values: []string{"a", "b"}},
			{Label: "gpu", Operator: dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_EXISTS},
		}
		t.Tasks[0].Ports = []*dhowv1.Port{{Port: 80, HostPort: 8080}}
	})
	c := NewCluster()
	c.SetNode(aNode("fits", 1000, 1<<30))
	c.SetNode(aNode("lost", 1000, 1<<30, func(n *dhowv1.Node) {
		n.Liveness = &dhowv1.NodeLiveness{State: dhowv1.NodeState_NODE_STATE_LOST, Since: since, Message: "gossip says it has failed"}
	}))
	c.SetNode(aNode("cordoned", 1000, 1<<30, func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{Cordoned: true} }))
	c.SetNode(aNode("drained", 1000, 1<<30, func(n *dhowv1.Node) { n.Spec = &dhowv1.NodeSpec{Draining: true} }))
	c.SetNode(aNode("zoned", 1000, 1<<30, func(n *dhowv1.Node) { n.Info.Zone = "x" }))
	c.SetNode(aNode("gpu", 1000, 1<<30, func(n *dhowv1.Node) { n.Info.Labels = map[string]string{"gpu": "yes"} }))
	c.SetNode(aNode("oci", 1000, 1<<30, func(n *dhowv1.Node) { n.Info.Runtimes = []string{"io.containerd.runc.v2"} }))
	c.SetNode(aNode("small", 1000, 1<<30))
	c.Node("small").Take(Demand{CPU: 800})
	c.SetNode(aNode("tight", 1000, 512<<20))
	c.Node("tight").Take(Demand{Memory: 384 << 20})
	c.SetNode(aNode("port", 1000, 1<<30))
	c.Node("port").Take(Demand{Ports: []uint32{8080}})
	wanted := map[string]struct {
		filter Filter
		text   string
	}{
		"fits":     {None, ""},
		"lost":     {Liveness, "the node is lost since 2026-01-02 03:04:05Z: gossip says it has failed"},
		"cordoned": {Cordon, "the node is cordoned"},
		"drained":  {Cordon, "the node is being drained"},
		"zoned":    {Constraint, `label dhow/zone is "x"; it must be one of a, b`},
		"gpu":      {Constraint, `label gpu is "yes"; it must not be there`},
		"oci":      {Runtime, `the node has no runtime "wasm", only io.containerd.runc.v2`},
		"small":    {CPU, "500m asked, 200m free of 1: lacks 300m"},
		"tight":    {Memory, "256Mi asked, 128Mi free of 512Mi: lacks 128Mi"},
		"port":     {Port, "host port 8080 is taken by another instance"},
	}
	s := c.Shape(tpl)
	list := c.Explain(s, "")
	if len(list) != len(wanted) {
		t.Fatalf("%d refusals", len(list))
	}
	for k, r := range list {
		if k > 0 && list[k-1].GetNode() >= r.GetNode() {
			t.Errorf("not in the order of names")
		}
		if w := wanted[r.GetNode()]; r.GetFilter() != w.filter.String() || !strings.HasPrefix(r.GetMessage(), w.text) {
			t.Errorf("%s: got %q %q, want %q %q", r.GetNode(), r.GetFilter(), r.GetMessage(), w.filter, w.text)
		}
	}
	got := c.Summary(s)
	for _, part := range []string{"1 of 10 nodes can take it", "1 lack cpu (500m asked, at most 200m free)", "1 lack memory", "1 have the host port taken", "2 cordoned or draining", "1 not ready"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q has no %q", got, part)
		}
	}
	if n := pick(c.Batch(s, Counts{}), ""); n != "fits" {
		t.Errorf("got %q", n)
	}
}

func TestImagesNeedARuntimeForImages(t *testing.T) {
	image := aTemplate(0, 0, func(t *dhowv1.Template) {
		t.Tasks[0].Source = &dhowv1.Task_Image{Image: &dhowv1.ImageSource{Ref: "busybox"}}
	})
	c := NewCluster()
	c.SetNode(aNode("wasm", 1000, 1<<30))
	if _, n := fill(c, image, 1); n != 0 {
		t.Error("an image was placed on a node for wasm only")
	}
	c.SetNode(aNode("runc", 1000, 1<<30, func(n *dhowv1.Node) { n.Info.Runtimes = []string{"wasm", "io.containerd.runc.v2"} }))
	if counts, _ := fill(c, image, 1); counts["runc"] != 1 {
		t.Errorf("%v", counts)
	}
}

func TestMountsNeedANodeThatOffersTheDirectory(t *testing.T) {
	mounting := aTemplate(0, 0, func(t *dhowv1.Template) {
		t.Tasks[0].Mounts = []*dhowv1.Mount{{Directory: "data", Path: "/data"}, {Directory: "logs", Path: "/logs"}}
	})
	c := NewCluster()
	c.SetNode(aNode("some", 1000, 1<<30, func(n *dhowv1.Node) { n.Info.Directories = []string{"data"} }))
	if _, n := fill(c, mounting, 1); n != 0 {
		t.Error("it was placed on a node without the directory")
	}
	s := c.Shape(mounting)
	if r := c.Explain(s, "")[0]; r.GetFilter() != "directory" || r.GetMessage() != `the node offers no directory "logs", only data` {
		t.Errorf("the refusal is %v", r)
	}
	if got := c.Summary(s); !strings.Contains(got, "1 do not offer the directory") {
		t.Errorf("the summary is %q", got)
	}
	c.SetNode(aNode("all", 1000, 1<<30, func(n *dhowv1.Node) { n.Info.Directories = []string{"logs", "data"} }))
	if counts, _ := fill(c, mounting, 1); counts["all"] != 1 {
		t.Errorf("%v", counts)
	}
}

// TestPlaceAgreesWithAskingEveryNode compares the quick ways with the slow one.
func TestPlaceAgreesWithAskingEveryNode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewCluster()
		names := []string{}
		for k := range rapid.IntRange(1, 40).Draw(t, "nodes") {
			names = append(names, fmt.Sprintf("n%d", k))
		}
		set := func(name string) {
			c.SetNode(aNode(name, uint64(rapid.IntRange(0, 8).Draw(t, "cpu"))*100, uint64(rapid.IntRange(0, 8).Draw(t, "memory"))<<26, func(n *dhowv1.Node) {
				n.Info.Zone = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "zone")
				if rapid.IntRange(0, 5).Draw(t, "cordoned") == 0 {
					n.Spec = &dhowv1.NodeSpec{Cordoned: true}
				}
			}))
		}
		for _, n := range names {
			set(n)
		}
		type taken struct {
			node *Node
			d    Demand
		}
		var all []taken
		var shapes []*Shape
		for range rapid.IntRange(1, 6).Draw(t, "shapes") {
			shapes = append(shapes, c.Shape(aTemplate(
				uint64(rapid.IntRange(0, 3).Draw(t, "cpu"))*100, uint64(rapid.IntRange(0, 3).Draw(t, "memory"))<<26, func(tpl *dhowv1.Template) {
					if rapid.Bool().Draw(t, "spread") {
						spread(tpl)
					}
					if rapid.Bool().Draw(t, "constraint") {
						tpl.Placement.Constraints = []*dhowv1.Constraint{{
							Label: "dhow/zone", Operator: dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_IN, Values: []string{"b"},
						}}
					}
					if rapid.IntRange(0, 3).Draw(t, "port") == 0 {
						tpl.Tasks[0].Ports = []*dhowv1.Port{{HostPort: 80}}
					}
				})))
		}
		for range rapid.IntRange(1, 30).Draw(t, "rounds") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				set(rapid.SampledFrom(names).Draw(t, "node"))
			case 1:
				c.RemoveNode(rapid.SampledFrom(names).Draw(t, "node"))
			case 2:
				if len(all) > 0 {
					k := rapid.IntRange(0, len(all)-1).Draw(t, "free")
					all[k].node.Free(all[k].d)
					all = append(all[:k], all[k+1:]...)
				}
			default:
				s := rapid.SampledFrom(shapes).Draw(t, "shape")
				counts := Counts{}
				b := c.Batch(s, counts)
				for range rapid.IntRange(1, 20).Draw(t, "instances") {
					fits := map[string]bool{}
					for _, r := range c.Explain(s, "") {
						if r.GetFilter() == "" {
							fits[r.GetNode()] = true
						}
					}
					avoid := rapid.SampledFrom(append(names, "")).Draw(t, "avoid")
					node, ok := b.Place(avoid)
					name := ""
					if ok {
						name = node.Name()
					}
					if ok != (len(fits) > 0) || ok && !fits[name] {
						t.Fatalf("placed on %q (%t), but %v fit", name, ok, fits)
					}
					if !ok {
						break
					}
					if s.Spread {
						for n := range fits {
							if n != avoid && counts[c.Node(n)] < counts[node] {
								t.Fatalf("spread to %s, which has %d; %s has %d", name, counts[node], n, counts[c.Node(n)])
							}
						}
					}
					node.Take(s.Demand)
					counts[node]++
					all = append(all, taken{node, s.Demand})
				}
			}
		}
	})
}
