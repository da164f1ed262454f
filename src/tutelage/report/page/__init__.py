"""The HTML page: :func:`tutelage.report.page.build.page` makes it of comparisons."""
