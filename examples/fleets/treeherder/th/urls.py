import os

from django.contrib import admin
from django.http import JsonResponse
from django.urls import path


def status(request):
    return JsonResponse({"pid": os.getpid(), "via": request.headers.get("Via")})


def parse(request):
    """Queues the parsing of a log, and answers at once."""
    from th.tasks import parse_log

    result = parse_log.apply_async((int(request.GET["n"]),), exchange="default", routing_key="parse_log.success")
    return JsonResponse({"id": result.id}, status=202)


urlpatterns = [path("api/status/", status), path("api/parse/", parse), path("admin/", admin.site.urls)]
