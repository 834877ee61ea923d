package wasmrt

// Attached is a value of a host module's own that stays with the guest as long
// as it lives: what create made when it was first asked for with this key. A
// key is best a pointer or a type of the host module's own. It may be called by
// host functions only.
func (c Caller) Attached(key any, create func() any) any {
	i := c.instance
	v, ok := i.attached[key]
	if !ok {
		v = create()
		if i.attached == nil {
			i.attached = map[any]any{}
		}
		i.attached[key] = v
	}
	return v
}
