"""What a report is made of.

charts.py    curves and histograms as SVG
maps.py      pictures that explain a sample: where it comes from, what is copied, where samples differ
page.py      one HTML file that needs nothing else
"""
