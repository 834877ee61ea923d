// Package manifest reads and writes what users keep in files: YAML (or JSON)
// documents that describe objects. It turns text into the messages of
// proto/dhow/v1 by their descriptors, strictly and with positions, and back.
// It opens the files it is told to, and knows nothing of servers.
//
// A document has a kind, metadata (or meta) and the fields of that kind:
//
//	kind: Workload
//	metadata:
//	  name: web
//	  labels: {team: shop}
//	spec:
//	  replicas: 3
//	  template:
//	    tasks:
//	      - wasm: {file: ./web.wasm, trigger: http}
//	        env: [{name: GREETING, value: hello}]
//	        resources: {limits: {cpu: 500m, memory: 64Mi}}
//
// Keys are the messages' field names in camelCase. Enumerations are words in
// camelCase (onFailure; on-failure is taken, too), durations are Go's (30s),
// amounts are quantities (500m, 64Mi). What only the cluster writes (status,
// uid, version ...) is skipped, so that what `dhow get -o yaml` prints can be
// applied again. Short forms:
//
//	wasm: ./app.wasm           wasm: {file: ./app.wasm}
//	wasm: sha256:…             wasm: {artifact: "sha256:…"}
//	image: nginx               image: {ref: nginx}
//	stdin: text                or {file: ./input.txt}, or {base64: …}
//	env: {A: b}                env: [{name: A, value: b}]
//	ports: [8080]              ports: [{port: 8080}]
//	restart: never             restart: {mode: never}
//	mounts: ["data:/data:rw"]  mounts: [{directory: data, path: /data, writable: true}]
//	kv: cart                   kv: {store: cart}
//	constraints: [disk=ssd]    constraints: [{label: disk, operator: in, values: [ssd]}]
//
// A document of the kind List has items, each of them a document.
package manifest
