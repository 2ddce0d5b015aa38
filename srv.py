import http.server,ssl,sys,hashlib
m=b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(s):
        s.send_response(200); s.send_header("Content-Type","application/vnd.oci.image.index.v1+json"); s.send_header("Docker-Content-Digest","sha256:"+hashlib.sha256(m).hexdigest()); s.send_header("Content-Length",str(len(m))); s.end_headers()
        if s.command=="GET": s.wfile.write(m)
    do_HEAD=do_GET
    def log_message(s,*a): pass
c=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.set_ciphers("DEFAULT:@SECLEVEL=0"); c.load_cert_chain(sys.argv[1],sys.argv[2])
h=http.server.HTTPServer(("127.0.0.1",0),H); h.socket=c.wrap_socket(h.socket,server_side=True); h.handle_error=lambda *a:None
open(sys.argv[3],"w").write(str(h.server_address[1])); h.serve_forever()
