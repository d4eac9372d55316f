"""The dashboards: built, checked, asked and drawn without Dashboards; brought into an OpenSearch Dashboards and back.

`build` writes the shipped files, `checking` says what is wrong with such files, `panels` asks an index what each panel
would show, `preview` draws that, `importing` and `exporting` are the way into a Dashboards and back.
"""
