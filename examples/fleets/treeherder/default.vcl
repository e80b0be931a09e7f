vcl 4.1;

backend apache {
    .host = "127.0.0.1";
    .port = "26081";
}

backend socketio {
    .host = "127.0.0.1";
    .port = "26083";
}

sub vcl_pipe {
    if (req.http.upgrade) {
        set bereq.http.upgrade = req.http.upgrade;
        set bereq.http.connection = req.http.connection;
    }
}

sub vcl_recv {
    if (req.url ~ "^/socket\.io/") {
        set req.backend_hint = socketio;
        if (req.http.upgrade ~ "(?i)websocket") {
            return (pipe);
        }
    } else {
        set req.backend_hint = apache;
    }
    return (pass);
}

sub vcl_backend_response {
    if (beresp.http.content-type ~ "json|text") {
        set beresp.do_gzip = true;
    }
}
