"""Two plugins of the original's kind: the ordinary one, and that of the slides, whose signature 0.19's runner refuses."""
import os

from circus.plugins import CircusPlugin


class Ordinary(CircusPlugin):
    name = "ordinary"

    def __init__(self, *args, **config):
        super(Ordinary, self).__init__(*args, **config)
        self.filename = config["filename"]
        self.endpoint_given = args[0]

    def handle_init(self):
        self.file = open(self.filename, "a", buffering=1)
        self.file.write("init %s %s\n" % (self.endpoint_given == os.environ["CIRCUS_ENDPOINT"], self.check_delay))

    def handle_recv(self, data):
        watcher, action, message = self.split_data(data)
        self.file.write("%s %s\n" % (watcher, action))

    def handle_stop(self):
        self.file.write("stop\n")


class Slides(CircusPlugin):
    name = "logger"

    def __init__(self, filename, **kwargs):
        super(Slides, self).__init__(**kwargs)
        self.filename = filename
        self.file = None

    def handle_init(self):
        self.file = open(self.filename, "a", buffering=1)

    def handle_recv(self, data):
        self.file.write("%s::%r\n" % (data[0].decode(), data[1]))

    def handle_stop(self):
        self.file.write("stop\n")
