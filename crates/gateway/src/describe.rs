//! Builds the parts of the OpenAPI document that dialects other than the native one add. Their bodies are
//! read field by field, so they are described by hand.

use serde_json::{Value, json};

/// The part of the OpenAPI document that a dialect adds.
#[derive(Debug, Default)]
pub(crate) struct Description {
    /// The groups of its operations: names and descriptions.
    pub(crate) tags: Vec<(&'static str, &'static str)>,
    pub(crate) operations: Vec<Operation>,
    /// The schemas that operations refer to ([`refer`]), by name.
    pub(crate) schemas: Vec<(&'static str, Value)>,
}

impl Description {
    /// Adds everything to an OpenAPI document.
    pub(crate) fn add_to(self, document: &mut Value) {
        for (name, description) in self.tags {
            let tag = json!({"name": name, "description": description});
            if let Some(tags) = document["tags"].as_array_mut() {
                tags.push(tag);
            }
        }
        for (name, schema) in self.schemas {
            debug_assert!(document["components"]["schemas"][name].is_null(), "two schemas {name}");
            document["components"]["schemas"][name] = schema;
        }
        for Operation { method, path, mut content } in self.operations {
            if let Some(responses) = content["responses"].as_object_mut() {
                responses.sort_keys(); // by status
            }
            document["paths"][path][method] = content;
        }
    }
}

/// A method of a path.
#[derive(Debug)]
pub(crate) struct Operation {
    method: &'static str,
    path: &'static str,
    content: Value,
}

impl Operation {
    /// Starts the description of a `GET`.
    pub(crate) fn get(path: &'static str, id: &str, summary: &str) -> Self {
        Self::new("get", path, id, summary)
    }

    /// Starts the description of a `POST`.
    pub(crate) fn post(path: &'static str, id: &str, summary: &str) -> Self {
        Self::new("post", path, id, summary)
    }

    /// Starts the description of a `DELETE`.
    pub(crate) fn delete(path: &'static str, id: &str, summary: &str) -> Self {
        Self::new("delete", path, id, summary)
    }

    fn new(method: &'static str, path: &'static str, id: &str, summary: &str) -> Self {
        let content = json!({
            "operationId": id, "summary": summary, "parameters": [], "responses": {},
        });
        Self { method, path, content }
    }

    /// Sets the group.
    pub(crate) fn tag(mut self, tag: &str) -> Self {
        self.content["tags"] = json!([tag]);
        self
    }

    /// Requires no key.
    pub(crate) fn open(mut self) -> Self {
        self.content["security"] = json!([{}]);
        self
    }

    /// Sets the description below the summary.
    pub(crate) fn about(mut self, description: &str) -> Self {
        self.content["description"] = json!(description);
        self
    }

    /// Adds a mandatory part of the path.
    pub(crate) fn segment(self, name: &str, description: &str, example: &str) -> Self {
        self.parameter(json!({
            "name": name, "in": "path", "required": true, "description": description,
            "schema": {"type": "string", "minLength": 1}, "example": example,
        }))
    }

    /// Adds an optional parameter of the query.
    pub(crate) fn query(self, name: &str, description: &str, schema: Value) -> Self {
        self.parameter(json!({
            "name": name, "in": "query", "description": description, "schema": schema,
        }))
    }

    /// Adds the header that makes a repeated request find the task of the first one.
    pub(crate) fn idempotent(self) -> Self {
        self.parameter(json!({
            "name": "Idempotency-Key", "in": "header",
            "description": "A name for this request: sent again with the same body, it returns the \
                            answer of the task that the first request created.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }))
    }

    fn parameter(mut self, parameter: Value) -> Self {
        if let Some(parameters) = self.content["parameters"].as_array_mut() {
            parameters.push(parameter);
        }
        self
    }

    /// Sets the JSON body, which is mandatory.
    pub(crate) fn body(mut self, schema: Value, example: Value) -> Self {
        self.content["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": schema, "example": example}},
        });
        self
    }

    /// Sets the body, which is mandatory, to the fields of a form with a file.
    pub(crate) fn form(mut self, schema: Value) -> Self {
        self.content["requestBody"] = json!({
            "required": true, "content": {"multipart/form-data": {"schema": schema}},
        });
        self
    }

    /// Adds the response with status 200 and a body of any type.
    pub(crate) fn returns_bytes(mut self, description: &str) -> Self {
        self.content["responses"]["200"] =
            json!({"description": description, "content": {"*/*": {}}});
        self
    }

    /// Adds the response with status 200 and a JSON body.
    pub(crate) fn returns(mut self, description: &str, schema: Value) -> Self {
        self.content["responses"]["200"] = json!({
            "description": description, "content": {"application/json": {"schema": schema}},
        });
        self
    }

    /// Adds the response with status 201 and a JSON body.
    pub(crate) fn creates(mut self, description: &str, schema: &Value) -> Self {
        self.content["responses"]["201"] = json!({
            "description": description, "content": {"application/json": {"schema": schema}},
        });
        self
    }

    /// Makes the response with status 200 an event stream.
    pub(crate) fn streams(mut self, description: &str) -> Self {
        self.content["responses"]["200"] = json!({
            "description": description, "content": {"text/event-stream": events()},
        });
        self
    }

    /// Adds the event stream that the response with status 200 is if the request asks for one. A body's example gets
    /// a twin that does.
    pub(crate) fn or_streams(mut self) -> Self {
        self.content["responses"]["200"]["content"]["text/event-stream"] = events();
        if let Some(body) = self.content.pointer_mut("/requestBody/content/application~1json") {
            let whole = body["example"].take();
            let mut streamed = whole.clone();
            streamed["stream"] = json!(true);
            body["examples"] = json!({"whole": {"value": whole}, "streamed": {"value": streamed}});
            if let Some(body) = body.as_object_mut() {
                body.remove("example");
            }
        }
        self
    }

    /// Links a field of the response to the parameter `parameter` of another operation.
    pub(crate) fn leads_to(mut self, operation: &str, parameter: &str, field: &str) -> Self {
        self.content["responses"]["200"]["links"][operation] = json!({
            "operationId": operation,
            "parameters": {parameter: format!("$response.body#/{field}")},
        });
        self
    }

    /// Adds responses with the dialect's error format.
    pub(crate) fn refuses(mut self, schema: &Value, statuses: &[(u16, &str)]) -> Self {
        for (status, description) in statuses {
            self.content["responses"][status.to_string()] = json!({
                "description": description, "content": {"application/json": {"schema": schema}},
            });
        }
        self
    }
}

/// Describes server-sent events. The schema is that of one event.
pub(crate) fn events() -> Value {
    json!({"schema": {
        "type": "object",
        "required": ["data"],
        "properties": {
            "event": {"type": "string"},
            "id": {"type": "string"},
            "data": {"type": "string", "description": "JSON, or `[DONE]` at the end of a stream of OpenAI's."},
        },
    }})
}

/// Refers to a schema of the document.
pub(crate) fn refer(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Allows `null` beside the values of a schema.
pub(crate) fn nullable(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// Describes a schema.
pub(crate) fn described(description: &str, mut schema: Value) -> Value {
    schema["description"] = json!(description);
    schema
}

/// The statuses of refusals that any route behind a key may have.
pub(crate) const OF_KEY: [(u16, &str); 2] =
    [(401, "The API key is missing or invalid."), (500, "Internal error.")];

/// The statuses of refusals that a route may have which reads the queue.
pub(crate) const OF_QUEUE: [(u16, &str); 1] =
    [(503, "The queue is unavailable. Retry after `Retry-After`.")];

/// The statuses of refusals that a route may have which reads a body.
pub(crate) const OF_BODY: [(u16, &str); 4] = [
    (400, "The request is invalid, or its body ended early."),
    (408, "The body did not arrive in time."),
    (413, "The body is too large."),
    (415, "The body is not JSON."),
];

/// The statuses of refusals that a route may have which submits a task and waits for its end.
pub(crate) const OF_TASK: [(u16, &str); 5] = [
    (404, "No worker serves the model."),
    (409, "Another request cancelled the task."),
    (429, "The queue is full, or a limit is reached. Retry after `Retry-After`."),
    (503, "The queue is unavailable, or the task failed for want of a worker or of memory. Retry."),
    (504, "The task reached its time limit."),
];
