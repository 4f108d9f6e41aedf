"""Every system of the paper's comparison behind one protocol: fitted to the same lessons, asked in the same way.

:func:`jtm_core.systems.fitting.fit_system` fits one by its name, :func:`jtm_core.systems.naming.settings_of` says what a name
stands for, :mod:`jtm_core.systems.fitted` what one gets.
"""
